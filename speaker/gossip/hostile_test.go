package gossip

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// seal encrypts as memberlist does, in either of its versions. What the padding of version 0 should look
// like is up to the caller.
func seal(key Key, version byte, plain, extra []byte) []byte {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	b := append([]byte{version}, make([]byte, gcm.NonceSize())...)
	return gcm.Seal(b, b[1:], plain, extra)
}

// unseal decrypts what version 1 has encrypted.
func unseal(t *testing.T, key Key, packet []byte) string {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, packet[1:1+gcm.NonceSize()], packet[1+gcm.NonceSize():], nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// sealStream makes an encrypted message for a stream.
func sealStream(key Key, version byte, plain []byte) []byte {
	head := binary.BigEndian.AppendUint32([]byte{encryptMsg}, uint32(len(seal(key, version, plain, nil))))
	return append(head, seal(key, version, plain, head)...)
}

func sendPacket(h *memhost, to netip.Addr, b []byte) {
	h.WriteTo(b, netip.AddrPortFrom(to, testPort).String()) //nolint:errcheck
	time.Sleep(time.Millisecond)
}

func sendStream(h *memhost, to netip.Addr, b []byte) {
	conn, err := h.DialTimeout(netip.AddrPortFrom(to, testPort).String(), time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(100 * time.Millisecond)) //nolint:errcheck
	conn.Write(b)                                            //nolint:errcheck
	io.Copy(io.Discard, conn)                                //nolint:errcheck
}

// A member with the key that sends garbage, or worse, does no harm: nobody crashes, and those who behave
// go on hearing each other.
func TestAHostileMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.await("all see all", 2*time.Second, c.all(everybody(2)))
		evil, err := c.net.listen(Desired{Listen: netip.MustParseAddrPort("10.0.66.6:7956")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer evil.Shutdown() //nolint:errcheck
		h, target := evil.(*memhost), nodeAddr(0)

		// What panics in memberlist itself.
		for _, padding := range []byte{0, 16, 255} {
			sendPacket(h, target, seal(keyOne, 0, bytes.Repeat([]byte{padding}, 16), nil))
			sendStream(h, target, sealStream(keyOne, 0, bytes.Repeat([]byte{padding}, 16)))
		}
		sendPacket(h, target, seal(keyOne, 0, nil, nil))
		sendStream(h, target, sealStream(keyOne, 0, nil))
		sendPacket(h, target, seal(keyOne, 1, nil, nil))
		sendStream(h, target, sealStream(keyOne, 1, nil))
		if got := c.nodes[0].Counters().Refused; got < 4 {
			t.Errorf("%d refused", got)
		}

		// Garbage behind each type of message, by packet and by stream.
		r := rand.New(rand.NewPCG(1, 2))
		for typ := range 16 {
			for range 100 {
				b := make([]byte, r.IntN(300))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				sendPacket(h, target, seal(keyOne, 1, append([]byte{byte(typ)}, b...), nil))
				if r.IntN(10) == 0 {
					sendStream(h, target, sealStream(keyOne, 1, append([]byte{byte(typ)}, b...)))
				}
			}
		}

		// Floods of well-formed nonsense: nodes that don't exist, and lies about one that does.
		for i := range 1500 {
			st := state{node: nodeName(1000 + i), life: 1, seq: 1}
			if i%3 == 0 {
				st = state{node: nodeName(0), life: c.nodes[0].life, seq: uint64(i), facts: Facts{Build: "lie"}}
			}
			sendPacket(h, target, seal(keyOne, 1, append([]byte{8}, packets(st, encodeState(st))[0]...), nil))
		}

		time.Sleep(time.Second)
		c.await("they hear each other", 3*time.Second, c.all(everybody(2)))
		c.await("they believe each other", time.Second, func() bool { return c.nodes[1].sees().Members[0].Facts.Build == "vnode-00" })
		c.nodes[0].change(func(d *Desired) { d.Facts.Build = "truth" })
		c.await("they hear news of each other", time.Second, func() bool { return c.nodes[1].sees().Members[0].Facts.Build == "truth" })
		if c.nodes[0].Counters().Undecodable == 0 {
			t.Error("no garbage was counted")
		}
	})
}

// Members that no speaker can be are not taken in.
func TestAMemberThatIsNoSpeaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.await("running", time.Second, func() bool { return c.nodes[0].sees().Running })
		conf := config(Desired{Listen: netip.MustParseAddrPort("10.0.66.6:7956")}, "stranger")
		conf.Logger = log.New(io.Discard, "", 0)
		conf.SecretKey = keyOne[:]
		host, err := c.net.listen(Desired{Listen: netip.MustParseAddrPort("10.0.66.6:7956")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		conf.Transport = host.(*memhost)
		list, err := memberlist.Create(conf)
		if err != nil {
			t.Fatal(err)
		}
		list.Join([]string{nodeName(0) + "/10.0.0.1:7956"}) //nolint:errcheck
		time.Sleep(time.Second)
		if got := members(c.nodes[0].sees()); got != "00" {
			t.Errorf("sees %q", got)
		}
		list.Shutdown() //nolint:errcheck
	})
}

func TestNotifyAlive(t *testing.T) {
	d := (*delegate)(&session{})
	good := memberlist.Node{Name: "a", Addr: net.IPv4(10, 0, 0, 1), Port: 1, Meta: []byte{0, 0, 0, 0, 0, 0, 0, 1, 99}}
	if err := d.NotifyAlive(&good); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		bad  func(*memberlist.Node)
	}{
		{"no name", func(n *memberlist.Node) { n.Name = "" }},
		{"a name with a line feed", func(n *memberlist.Node) { n.Name = "a\nb" }},
		{"a name that is too long", func(n *memberlist.Node) { n.Name = string(bytes.Repeat([]byte("a"), 254)) }},
		{"an address of three bytes", func(n *memberlist.Node) { n.Addr = []byte{1, 2, 3} }},
		{"an address that is none", func(n *memberlist.Node) { n.Addr = net.IPv6unspecified }},
		{"no port", func(n *memberlist.Node) { n.Port = 0 }},
		{"no life", func(n *memberlist.Node) { n.Meta = nil }},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := good
			row.bad(&n)
			if d.NotifyAlive(&n) == nil {
				t.Error("taken in")
			}
		})
	}
}

// On a stream nothing reaches memberlist that does not begin like an encrypted message, in however small
// pieces it comes.
func TestGuardedConn(t *testing.T) {
	head := func(length uint32, version byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{encryptMsg}, length), version)
	}
	for _, row := range []struct {
		name string
		sent []byte
		ok   bool
	}{
		{"an encrypted message", append(head(30, 1), 1, 2, 3), true},
		{"plain text", []byte{6, 1, 2, 3, 4, 5, 6}, false},
		{"a labelled stream", []byte{244, 1, 'x', 10}, false},
		{"nothing inside", head(29, 1), false},
		{"the version with padding", head(100, 0), false},
		{"a version to come", head(100, 2), false},
		{"too much", head(maxStream+1, 1), false},
	} {
		for _, piece := range []int{1, 3, 100} {
			t.Run(row.name, func(t *testing.T) {
				theirs, ours := net.Pipe()
				go func() {
					for chunk := range slices.Chunk(row.sent, piece) {
						theirs.Write(chunk) //nolint:errcheck
					}
					theirs.Close()
				}()
				got, err := io.ReadAll(&guardedConn{Conn: ours})
				if ok := err == nil && bytes.Equal(got, row.sent); ok != row.ok {
					t.Errorf("read %x, %v", got, err)
				}
				if !row.ok && !errors.Is(err, errMalformed) {
					t.Errorf("error %v", err)
				}
				ours.Close()
			})
		}
	}
}

// Hosts without the key can't hold more than so many streams open.
func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newMemnet()
		at := netip.MustParseAddrPort("10.0.0.1:7956")
		inner, err := network.listen(Desired{Listen: at}, nil)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		g, err := newGuard(inner, []Key{keyOne}, nil, func(string) { refused++ })
		if err != nil {
			t.Fatal(err)
		}
		from := &memhost{net: network, addr: netip.MustParseAddrPort("10.0.66.6:1")}

		var open []net.Conn
		for range maxStreams {
			if _, err := from.DialTimeout(at.String(), time.Second); err != nil {
				t.Fatal(err)
			}
			open = append(open, <-g.StreamCh())
		}
		over, err := from.DialTimeout(at.String(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := over.Read(make([]byte, 1)); err == nil || refused != 1 {
			t.Errorf("one more is open, %d refused", refused)
		}
		open[0].Close()
		open[0].Close()
		if _, err := from.DialTimeout(at.String(), time.Second); err != nil {
			t.Fatal(err)
		}
		(<-g.StreamCh()).Close()
		g.Shutdown() //nolint:errcheck
		g.Shutdown() //nolint:errcheck
	})
}

// FuzzMember is what a member with the key may send, behind the encryption, to a speaker that runs.
func FuzzMember(f *testing.F) {
	network := newMemnet()
	g := New(Options{Node: "node-00", Log: slog.New(slog.DiscardHandler)})
	g.listen = network.listen
	at := netip.AddrPortFrom(nodeAddr(0), testPort)
	g.Apply(Desired{Listen: at, Keys: []Key{keyOne}})
	go g.Run(f.Context()) //nolint:errcheck
	for {
		s, changed := g.Snapshot()
		if s.Running {
			break
		}
		<-changed
	}
	h := network.hosts[at]
	for typ := range byte(15) {
		f.Add([]byte{typ, 0x82, 0xa5, 'S', 'e', 'q', 'N', 'o', 1, 0xa4, 'N', 'o', 'd', 'e', 0xa1, 'a'})
	}
	f.Add([]byte{7, 2, 0, 1, 0, 2, 8, 7, 0})
	f.Add(append([]byte{8}, askFrame("node-01")...))
	f.Fuzz(func(t *testing.T, plain []byte) {
		h.packets <- &memberlist.Packet{Buf: seal(keyOne, 1, plain, nil), From: &net.UDPAddr{IP: net.IPv4(10, 0, 66, 6), Port: 1}}
		ours, theirs := net.Pipe()
		ours.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck
		h.streams <- theirs
		if _, err := ours.Write(sealStream(keyOne, 1, plain)); err == nil {
			io.Copy(io.Discard, ours) //nolint:errcheck
		}
		ours.Close()
	})
}

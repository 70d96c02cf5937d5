package tlv

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

type field struct {
	typ   uint64
	value []byte
}

func fieldsOf(b []byte) (fields []field, err error) {
	err = Each(b, func(typ uint64, value []byte) error {
		fields = append(fields, field{typ, value})
		return nil
	})
	return fields, err
}

func TestFieldsAreReadAsTheyWereWritten(t *testing.T) {
	b := Append(nil, 1, []byte("one"))
	b = AppendNumber(b, 300, math.MaxUint64)
	b = AppendUint64(b, 3, 7)
	b = AppendFlag(b, 4, true)
	got, err := fieldsOf(b)
	if err != nil || len(got) != 4 {
		t.Fatalf("%v, %v", got, err)
	}
	if string(got[0].value) != "one" || got[1].typ != 300 || len(got[3].value) != 0 {
		t.Errorf("%v", got)
	}
	if n, err := Number(got[1].value); n != math.MaxUint64 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := Uint64(got[2].value); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestWhatSaysNothingIsLeftOut(t *testing.T) {
	if b := AppendFlag(AppendNumber(nil, 1, 0), 2, false); len(b) != 0 {
		t.Errorf("% x", b)
	}
}

func TestAReaderStopsWhereItIsTold(t *testing.T) {
	full := errors.New("enough")
	seen := 0
	err := Each(Append(Append(nil, 1, nil), 2, nil), func(uint64, []byte) error { seen++; return full })
	if !errors.Is(err, full) || seen != 1 {
		t.Errorf("%v after %d fields", err, seen)
	}
}

func TestWhatCannotBeReadIsRefused(t *testing.T) {
	all := AppendText(Append(nil, 200, []byte("value")), "text")
	for _, row := range []struct {
		name string
		err  func() error
	}{
		{"a field without a length", func() error { _, err := fieldsOf([]byte{1}); return err }},
		{"a field that is longer than its message", func() error { _, err := fieldsOf([]byte{1, 2, 0}); return err }},
		{"a length of more than 64 bits", func() error { _, err := fieldsOf(bytes.Repeat([]byte{0xff}, 12)); return err }},
		{"a number with something after it", func() error { _, err := Number([]byte{1, 2}); return err }},
		{"no number", func() error { _, err := Number(nil); return err }},
		{"seven bytes of eight", func() error { _, err := Uint64(make([]byte, 7)); return err }},
		{"seven bytes of eight, inside a value", func() error { _, _, err := CutUint64(make([]byte, 7)); return err }},
		{"a text that is too long", func() error { _, err := Text([]byte("abcd"), 3); return err }},
		{"a text with a line break", func() error { _, err := Text([]byte("a\n"), 3); return err }},
		{"a text that is longer than its value", func() error { _, _, err := CutText([]byte{5, 'a'}, 10); return err }},
		{"a field that was cut", func() error { _, err := fieldsOf(all[:3]); return err }},
	} {
		if row.err() == nil {
			t.Errorf("%s is taken", row.name)
		}
	}
}

// Any input is read to its end or refused, within its bounds; what was read says the same when it is written anew.
func FuzzEach(f *testing.F) {
	f.Add(Append(AppendNumber(nil, 1, 300), 2, []byte("two")))
	f.Add(AppendText(AppendUint64(nil, 1<<40, 5), "text"))
	f.Add([]byte{0x80, 0x00, 0x81, 0x00, 0xff}) // lengths need not be as short as they can be
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, err := fieldsOf(b)
		var again []byte
		size := 0
		for _, one := range fields {
			again = Append(again, one.typ, one.value)
			size += len(one.value)
			_, _ = Number(one.value)
			_, _ = Uint64(one.value)
			if s, rest, err := CutText(one.value, 20); err == nil && (len(s) > 20 || len(s)+len(rest) >= len(one.value)) {
				t.Errorf("%q and % x of % x", s, rest, one.value)
			}
		}
		if size > len(b) || err == nil && len(again) > len(b) {
			t.Fatalf("%d bytes of values in % x", size, b)
		}
		same, err := fieldsOf(again)
		if err != nil || len(same) != len(fields) {
			t.Fatalf("%d fields of %d are read again: %v", len(same), len(fields), err)
		}
		for i := range same {
			if same[i].typ != fields[i].typ || !bytes.Equal(same[i].value, fields[i].value) {
				t.Errorf("field %d: %v, before %v", i, same[i], fields[i])
			}
		}
	})
}

package images

import "encoding/binary"

// A Capability is a Linux capability's number, as in <linux/capability.h>.
type Capability uint

// NetRaw is CAP_NET_RAW: open packet and raw sockets.
const NetRaw Capability = 13

// From <linux/capability.h>.
const (
	vfsCapRevision2     = 0x02000000 // VFS_CAP_REVISION_2
	vfsCapU32Revision2  = 2          // VFS_CAP_U32_2: 32-bit words in each set
	vfsCapSizeRevision2 = 4 + vfsCapU32Revision2*(4+4)
)

// xattrCapability is the extended attribute that holds a file's capabilities, as a PAX record: what GNU tar writes with
// --xattrs and what container runtimes unpack.
const xattrCapability = "SCHILY.xattr.security.capability"

// fileCapability encodes `CAP+p`, permitted and not effective, as struct vfs_cap_data of revision 2:
//
//	 0        4           8            12          16           20
//	┌────────┬───────────┬────────────┬───────────┬────────────┐
//	│ magic  │ permitted │ inheritable│ permitted │ inheritable│   little endian
//	│        │ 0–31      │ 0–31       │ 32–63     │ 32–63      │
//	└────────┴───────────┴────────────┴───────────┴────────────┘
//
// The lowest bit of magic (VFS_CAP_FLAGS_EFFECTIVE) stays clear on purpose. With it the kernel refuses to execute the
// file at all (EPERM) where the container's bounding set lacks the capability; without it the program starts everywhere,
// finds the capability in its permitted set or not, and can say what is missing. It has to raise it by itself.
func fileCapability(permitted ...Capability) string {
	b := make([]byte, vfsCapSizeRevision2)
	binary.LittleEndian.PutUint32(b, vfsCapRevision2)
	for _, c := range permitted {
		word := b[4+8*(c/32):]
		binary.LittleEndian.PutUint32(word, binary.LittleEndian.Uint32(word)|1<<(c%32))
	}
	return string(b)
}

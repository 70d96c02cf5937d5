// Package packet reads and writes BFD Control packets (RFC 5880 section 4).
//
// [Parse] does all of the reception procedure of section 6.8.6 that needs no
// session: a packet that it returns is well formed. What it refuses it refuses
// for a reason of a closed list, [Refusal]. Nothing here allocates.
//
// Of the authentication types the two by SHA-1 are known (section 6.7.4).
package packet

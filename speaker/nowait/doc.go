// Package nowait makes the system calls of which a speaker makes most: those that send or take one packet, and never wait.
//
// Go's own calls tell the runtime before each that it may take long, and the first after a moment in which the whole process was idle
// wakes up a thread of the runtime's (sysmon) to watch it, which then looks every 20 µs whether all is idle again. A speaker in peace is
// woken up some hundred times a second for a packet or two, and that watching was a quarter of the processor time that it
// needed. These calls tell nobody. So they are for sockets that are asked not to wait, and for nothing else: what does take long
// here holds up one of the runtime's processors.
//
// A descriptor is as [syscall.RawConn] hands it out. [unix.EAGAIN] means that the call would have waited.
package nowait

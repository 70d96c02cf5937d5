// Package view turns Clarion's objects into tables for people: which pools are filling up, what each speaker does, which sessions are up, and
// what of all of it needs looking at. It is pure; what it shows stands in the objects, so that whoever may read them sees the same.
package view

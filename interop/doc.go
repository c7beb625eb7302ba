// Package interop has no code of its own: its tests let Microsoft's clients for
// Go, azkeys and azidentity, do every key operation against the fake vault that
// this project's own tests rely on, and compare them with package akv. What the
// fake gets wrong, they notice. Its examples put Microsoft's credentials and
// OpenTelemetry's instrumentation to use.
//
// It is a module of its own, so that nobody who uses the library depends on theirs.
package interop

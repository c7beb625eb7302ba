// Package recipes has what people look for, each as an example that can be copied:
//
//   - how the KeyID of a result goes back into UnwrapKey, also after a rotation
//   - why keys on elliptic curves do not wrap, and how that shows
//   - a Managed HSM in place of a vault
//   - a private CA, as a proxy that inspects TLS has it
//   - how a program that uses package akv is tested offline
//
// An example is its own file and vault_test.go, which stands for the vault and for
// Entra ID; with a real vault only the options that name it go. Spans for
// OpenTelemetry are in the module interop, so that this one need not depend on it.
package recipes

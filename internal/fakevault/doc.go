// Package fakevault plays Azure Key Vault, Entra ID and the managed identity endpoints, offline.
package fakevault

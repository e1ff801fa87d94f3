// Package auth says who calls: bearer tokens kept as hashes in a file, each
// with a name, a tenant and roles.
//
// Use it behind internal/httpserver and the gRPC server, which present what a
// caller sent and receive an [Identity]. It is not a user directory: tokens
// are for programs and operators, they are made by a command, and they end by
// being removed from the file.
//
//	plaintext, entry, err := auth.Create("deploy-bot", "acme", auth.Release)
//	err = auth.AppendTo("tokens.json", entry)  // the file never sees plaintext
//	tokens, err := auth.Load("tokens.json")
//	who, ok := tokens.Lookup(plaintext)
//	fmt.Println(ok, who.Name, who.Has(auth.Release)) // true deploy-bot true
package auth

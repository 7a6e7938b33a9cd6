// Package admission protects a server from overload. Connections bound the connections
// that it keeps, Shares bound the requests in progress, and a Notice rate-limits the log
// messages about refused ones.
package admission

// Package sms hands text messages to the services that deliver them.
//
// Start with Provider, which one package below this one implements for each service,
// and with Router.Send, which tries the providers of a message in turn. A breaker pauses
// a provider that fails. Callbacks receives what services report about messages. Package
// providers is the registry, and package wire has what HTTP providers share.
package sms

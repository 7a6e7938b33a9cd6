package sms

// What HTTP providers are made of, for the provider of the chaos test.
var (
	ChaosClient   = newClient
	ChaosExchange = exchange
	ChaosByStatus = byStatus
)

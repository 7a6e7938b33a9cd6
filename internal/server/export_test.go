package server

var (
	OpenSMS = openSMS
	Snake   = snake
)

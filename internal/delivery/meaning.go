package delivery

import "strings"

// Meaning returns what the code of a provider for an undelivered message means, in a few words, or
// "" if it is not known. The codes of services overlap, so it knows the service from the
// name of the provider, which must be the type or begin with it: "twilio", "twilio-eu".
// Without a provider, it knows only the codes that one service has.
func Meaning(provider, code string) string {
	for service, codes := range meanings {
		if rest, ok := strings.CutPrefix(provider, service); ok && (rest == "" || !isLetter(rest[0])) {
			return codes[code]
		}
	}
	if len(code) == 5 { // of Twilio or Telnyx; other services have shorter codes
		if meaning := meanings["twilio"][code]; meaning != "" {
			return meaning
		}
		return meanings["telnyx"][code]
	}
	return ""
}

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

// meanings has the codes of receipts by the type of the provider, from the documentation of the
// services.
var meanings = map[string]map[string]string{
	"twilio": {
		"21610": "the phone opted out with STOP",
		"30001": "the queue of the sender is full",
		"30002": "the account is suspended",
		"30003": "the phone is unreachable: switched off or without a network",
		"30004": "the carrier or the user blocks the message",
		"30005": "the number is unknown",
		"30006": "the number is a landline, or its carrier is not reachable",
		"30007": "the carrier filtered the message as spam",
		"30008": "unknown error of the carrier",
		"30010": "the price is above the maximum",
		"30034": "the sender is not registered for the United States",
		"30036": "the message expired before the phone was reachable",
	},
	"telnyx": {
		"40001": "no route to the number",
		"40002": "blocked as spam for now",
		"40003": "blocked as spam",
		"40004": "the carrier rejected the message",
		"40005": "the message expired on its way",
		"40006": "the carrier is not reachable",
		"40008": "the message could not be delivered",
		"40010": "the sender is not registered for the United States",
		"40012": "the number is not valid",
		"40014": "the message expired in the queue",
		"40300": "the phone opted out with STOP",
	},
	"vonage": {
		"1":  "unknown error",
		"2":  "the phone is not reachable for now",
		"3":  "the phone is not reachable",
		"4":  "the user blocks the message",
		"5":  "the number was moved to another carrier",
		"6":  "the carrier filtered the message as spam",
		"7":  "the phone was busy",
		"8":  "an error of the carrier's network",
		"9":  "the number is not valid",
		"11": "no route to the number",
		"12": "the number is not reachable",
		"13": "the carrier blocks the message for the age of the user",
		"14": "the carrier blocks the number",
		"15": "the prepaid account of the user is empty",
		"99": "unknown error",
	},
	"plivo": {
		"20":  "an error of the carrier's network",
		"30":  "the carrier filtered the message as spam",
		"40":  "the sender is not valid",
		"50":  "the number is not valid",
		"70":  "the number is not reachable",
		"80":  "the phone is not reachable for now",
		"90":  "no route to the number",
		"100": "the carrier forbids the message",
		"200": "the phone opted out with STOP",
		"420": "the message expired",
		"450": "the country is not enabled",
	},
	"messagebird": {
		"1":   "the number is unknown",
		"6":   "the phone is not reachable",
		"9":   "the number is not in service",
		"11":  "the number cannot receive text messages",
		"13":  "the number is barred",
		"27":  "the phone is switched off",
		"31":  "the phone was busy",
		"103": "the phone opted out",
	},
	"aws": {
		"BLOCKED":             "the number is blocked, or the account may not send to it",
		"CARRIER_BLOCKED":     "the carrier blocks the message",
		"CARRIER_UNREACHABLE": "the carrier is not reachable",
		"INVALID":             "the number is not valid",
		"INVALID_MESSAGE":     "the text is not valid",
		"SPAM":                "the carrier filtered the message as spam",
		"TTL_EXPIRED":         "the message expired before the phone was reachable",
		"UNREACHABLE":         "the phone is not reachable",
		"UNKNOWN":             "unknown error",
	},
}

package console

import "strings"

// browserNames has the mark of each browser in its User-Agent. The order matters: most
// browsers also have the marks of others.
var browserNames = []struct{ mark, name string }{
	{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"},
	{"HeadlessChrome/", "Chrome"}, {"Chrome/", "Chrome"}, {"CriOS/", "Chrome"}, {"Safari/", "Safari"},
}

var systemNames = []struct{ mark, name string }{
	{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "Mac"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
}

// browserOf describes a User-Agent in few words, such as "Firefox on Windows". It returns the
// beginning of a text that it does not know.
func browserOf(agent string) string {
	if agent == "" {
		return "Unknown browser"
	}
	for _, b := range browserNames {
		if !strings.Contains(agent, b.mark) {
			continue
		}
		for _, s := range systemNames {
			if strings.Contains(agent, s.mark) {
				return b.name + " on " + s.name
			}
		}
		return b.name
	}
	runes := []rune(agent)
	return string(runes[:min(len(runes), 40)])
}

// counted writes a number with its noun: "1 passkey", "2 passkeys".
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return number(n) + " " + noun
}

package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// A place is one server, with the network in front of it.
type place struct{ url, key, network string }

// A message is an entry of a server's inbox.
type message struct {
	To     string    `json:"to"`
	Text   string    `json:"text"`
	Code   string    `json:"code"`
	SentAt time.Time `json:"sent_at"`
}

func (p place) inbox(to string) []message {
	var inbox struct{ Messages []message }
	p.ask("GET", p.url+"/dev/inbox?to="+url.QueryEscape(to), nil, &inbox)
	return inbox.Messages
}

// post sends a request without the library, for calls that a version does not have.
func (p place) post(path string, body, reply any) {
	p.ask("POST", p.url+path, body, reply)
}

// A try is one request that went over the network, and its outcome.
type try struct {
	Method       string
	Path         string
	Key          string // the header Idempotency-Key
	Lost         string
	Status       int
	ReplyHeaders [][2]string `json:"reply_headers"`
	ReplyBody    string      `json:"reply_body"`
}

// lose makes the network lose the next "reply" or "request".
func (p place) lose(what string) {
	p.ask("POST", p.network+"/-/lose-"+what, nil, &struct{}{})
}

// tries returns the requests over the network since the last command to lose something.
func (p place) tries() []try {
	var tries []try
	p.ask("GET", p.network+"/-/tries", nil, &tries)
	return tries
}

// during returns the requests over the network during a call.
func (p place) during(call func()) []try {
	before := len(p.tries())
	call()
	return p.tries()[before:]
}

// codeOnWire returns the code of a challenge from the last reply over the network.
func (p place) codeOnWire(challengeID string) string {
	tries := p.tries()
	var sent struct{ ID, Code string }
	check(json.Unmarshal([]byte(tries[len(tries)-1].ReplyBody), &sent))
	equal("the challenge on the wire", sent.ID, challengeID)
	matches("code", sent.Code, sixDigits)
	return sent.Code
}

// A delivery is a webhook that is signed now, with signatures that must be refused.
type delivery struct{ Secret, Body, Signature, Stale, Forged string }

func (p place) delivery() delivery {
	var d delivery
	p.ask("GET", p.network+"/-/webhook", nil, &d)
	return d
}

func (p place) ask(method, url string, body, reply any) {
	var text bytes.Buffer
	if body != nil {
		check(json.NewEncoder(&text).Encode(body))
	}
	req := must(http.NewRequest(method, url, &text))
	req.Header.Set("Authorization", "Bearer "+p.key)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	answer := must(http.DefaultClient.Do(req))
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		failf("%s %s: %s", method, url, answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(reply); err != nil {
		failf("%s %s: %v", method, url, err)
	}
}

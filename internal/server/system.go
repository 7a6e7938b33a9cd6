package server

import (
	"context"
	"crypto/x509"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// system returns what the console shows about the node, its store and its keys.
func (s *Server) system(ctx context.Context) []console.Section {
	return []console.Section{s.aboutNode(ctx), s.aboutStore(ctx), s.aboutKeys(ctx), s.aboutWork(), s.aboutBackups(), s.aboutCertificate()}
}

func (s *Server) aboutNode(ctx context.Context) console.Section {
	state := console.Fact{Name: "State", Value: "ready", Tone: "good"}
	if err := s.ready(ctx); err != nil {
		state.Value, state.Tone = "not ready: "+err.Error(), "bad"
	}
	return console.Section{Name: "This node", Facts: []console.Fact{
		state,
		{Name: "Version", Value: strings.TrimSpace(s.version + " " + runtime.Version())},
		{Name: "Started", At: s.started},
		{Name: "Address", Value: s.cfg.Addr},
		{Name: "Connections", Value: fmt.Sprintf("%d of %d", s.connections.Open(), s.cfg.MaxConnections)},
	}}
}

func (s *Server) aboutStore(ctx context.Context) console.Section {
	facts := []console.Fact{{Name: "Store", Value: config.StoreName(s.cfg.Store)}}
	began := wallclock.Start()
	if err := s.store.health.Ping(ctx); err != nil {
		facts = append(facts, console.Fact{Name: "Answer", Value: "none", Tone: "bad"})
	} else {
		facts = append(facts, console.Fact{Name: "Answer", Value: "in " + milliseconds(began.Elapsed()), Tone: "good"})
	}
	if s.clock.store != nil {
		facts = append(facts, console.Fact{Name: "Clock", Value: fmt.Sprintf("the store is %+.3f s ahead of this node", s.clock.seconds())})
	}
	facts = append(facts, console.Fact{Name: "Events are kept for", Value: days(s.cfg.EventRetention)})
	return console.Section{Name: "Store", Facts: facts}
}

func milliseconds(d time.Duration) string {
	if d < 100*time.Microsecond {
		return "less than 0.1 ms"
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func days(d time.Duration) string { return fmt.Sprintf("%.0f days", d.Hours()/24) }

func (s *Server) aboutKeys(ctx context.Context) console.Section {
	keys := s.mfa.Load().Keys()
	rotation := console.Fact{Name: "Rotation", Value: "none in progress", Tone: "good"}
	switch proof, err := s.store.transfer.Meta(ctx, metaKeyset); {
	case err != nil:
		rotation.Value, rotation.Tone = "unknown: the store does not answer", "bad"
	case keys.Stale(proof):
		rotation.Value, rotation.Tone = "rows are being sealed under the newest key", "warn"
	case keys.Rotating():
		rotation.Value, rotation.Tone = "new keys are not in use yet, or old keys can be retired", "warn"
	}
	facts := []console.Fact{rotation}
	if source, err := KeysetSource(s.cfg); err == nil {
		kind, _, _ := strings.Cut(source, ":") // the rest may name a command with arguments
		facts = append(facts, console.Fact{Name: "Source", Value: kind})
	}
	return console.Section{Name: "Keyset", Facts: facts}
}

func (s *Server) aboutWork() console.Section {
	if s.dispatcher == nil {
		return console.Section{Name: "Webhooks", Facts: []console.Fact{{Name: "Delivery", Value: "other nodes deliver"}}}
	}
	state := s.dispatcher.State()
	lag := console.Fact{Name: "Oldest event not sent yet", Value: fmt.Sprintf("%.0f s old", state.Lag.Seconds()), Tone: "good"}
	if state.Lag > time.Minute {
		lag.Tone = "warn"
	}
	return console.Section{Name: "Webhooks", Facts: []console.Fact{
		{Name: "Waiting for another attempt", Value: fmt.Sprint(state.Waiting)}, lag,
	}}
}

func (s *Server) aboutBackups() console.Section {
	section := console.Section{Name: "Backups"}
	if s.backups == nil {
		section.Facts = []console.Fact{{Name: "Schedule", Value: "off on this node"}}
		return section
	}
	state := s.backups.State()
	health := console.Fact{Name: "State", Value: "good", Tone: "good"}
	switch age := s.now().Sub(state.Newest.At); {
	case state.Failures > 0:
		health.Value, health.Tone = fmt.Sprintf("%d failed since the newest backup", state.Failures), "bad"
	case state.Newest.At.IsZero():
		health.Value, health.Tone = "not made yet", "warn"
	case age > 2*s.cfg.BackupEvery:
		health.Value, health.Tone = "late", "warn"
	}
	section.Facts = []console.Fact{health, {Name: "Newest", At: state.Newest.At}}
	if !state.Newest.At.IsZero() {
		section.Facts = append(section.Facts, console.Fact{Name: "Size", Value: fmt.Sprintf("%.1f MB", float64(state.Newest.Size)/1e6)})
	}
	return section
}

// soon is how long before its end a certificate is shown as expiring.
const soon = 14 * 24 * time.Hour

func (s *Server) aboutCertificate() console.Section {
	if s.acme != nil {
		return s.aboutDomains()
	}
	section := console.Section{Name: "TLS certificate"}
	if s.certs == nil {
		section.Facts = []console.Fact{{Name: "TLS", Value: "off: this node serves plain HTTP"}}
		return section
	}
	current := s.certs.current.Load()
	leaf, err := x509.ParseCertificate(current.Certificate[0])
	if err != nil {
		section.Facts = []console.Fact{{Name: "Certificate", Value: "unreadable", Tone: "bad"}}
		return section
	}
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	section.Facts = []console.Fact{s.validity(leaf.NotAfter), {Name: "Expires", At: leaf.NotAfter}, {Name: "Names", Value: strings.Join(names, ", ")}, {Name: "File", Value: s.cfg.TLSCert}}
	return section
}

package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/signin"
)

// RunSignIn tests every promise of signin.Store. open returns an empty store, which also
// implements events.Log.
func RunSignIn(t *testing.T, open func(*testing.T) signin.Store) {
	check := func(promise string, test func(*testing.T, signin.Store)) {
		t.Run(promise, func(t *testing.T) { test(t, open(t)) })
	}
	check("every field of an operator comes back", operatorComesBack)
	check("every field of a passkey comes back", passkeyComesBack)
	check("every field of a ticket comes back", ticketComesBack)
	check("a row of sign-in that is not stored is nil", unknownSignInIsNil)
	check("a put row of sign-in replaces the stored one", signInPutReplaces)
	check("a subject belongs to one operator", subjectsAreUnique)
	check("passkeys and tickets are listed by operator, oldest first", signInIsListed)
	check("deleted rows of sign-in are gone, and no others", signInDeletes)
	check("expired tickets are deleted up to a limit", expiredTicketsAreDeleted)
	check("an error leaves no trace of a change of sign-in", failedSignInLeavesNothing)
	check("an event of sign-in is appended with its change", signInAppendsEvents)
	check("changes of sign-in run one after another", signInIsSerial)
}

func newOperator(name string) signin.Operator {
	return signin.Operator{Name: name, Role: access.RoleViewer, Handle: []byte{1, 2}, CreatedAt: morning}
}

func newPasskey(id byte, operator string, at time.Time) signin.Passkey {
	return signin.Passkey{Credential: passkey.Credential{ID: []byte{id}, PublicKey: []byte{7}}, Operator: operator, Name: "key", CreatedAt: at}
}

func newTicket(n byte, kind signin.Kind, operator string, at time.Time) signin.Ticket {
	return signin.Ticket{Hash: signin.Hash{n}, Kind: kind, Operator: operator, CreatedAt: at, SeenAt: at, ExpiresAt: at.Add(time.Hour)}
}

func changeSignIn(t *testing.T, s signin.Store, fn func(tx signin.Tx) error) {
	t.Helper()
	if err := s.UpdateSignIn(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func viewSignIn(t *testing.T, s signin.Store, fn func(r signin.Reader) error) {
	t.Helper()
	if err := s.ViewSignIn(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func operatorComesBack(t *testing.T, s signin.Store) {
	full := signin.Operator{Name: "Ada Lovelace", Role: access.RoleAdmin, Handle: []byte{0, 0xff}, Subject: "https://id.example.com 7", CreatedAt: morning, DisabledAt: atLast}
	bare := newOperator("ada@example.com")
	changeSignIn(t, s, func(tx signin.Tx) error { return errors.Join(tx.PutOperator(full), tx.PutOperator(bare)) })
	viewSignIn(t, s, func(r signin.Reader) error {
		got, err := r.Operator(full.Name)
		same(t, got, &full)
		bySubject, errSubject := r.OperatorBySubject(full.Subject)
		same(t, bySubject, &full)
		all, errAll := r.Operators()
		sameList(t, all, []signin.Operator{full, bare})
		return errors.Join(err, errSubject, errAll)
	})
}

func passkeyComesBack(t *testing.T, s signin.Store) {
	full := signin.Passkey{
		Credential: passkey.Credential{
			ID: bytes.Repeat([]byte{0, 0xff}, 500), PublicKey: []byte{9, 0}, SignCount: 1<<32 - 1, AAGUID: [16]byte{1, 2, 3},
			Transports: []string{"usb", "nfc"}, Attachment: "cross-platform", UserVerified: true, BackupEligible: true, BackedUp: true,
		},
		Operator: "ada", Name: "YubiKey 5 – blå", CreatedAt: morning, UsedAt: atLast,
	}
	changeSignIn(t, s, func(tx signin.Tx) error { return tx.PutPasskey(full) })
	viewSignIn(t, s, func(r signin.Reader) error {
		got, err := r.Passkey(full.ID)
		same(t, got, &full)
		return err
	})
}

func ticketComesBack(t *testing.T, s signin.Store) {
	full := signin.Ticket{
		Hash: signin.Hash{1, 31: 0xff}, Kind: signin.KindSession, Operator: "ada", Count: 1 << 30,
		CreatedAt: morning, SeenAt: morning.Add(time.Minute), ExpiresAt: atLast, Data: []byte{0, 0xff},
	}
	bare := signin.Ticket{Kind: signin.KindAttempts, CreatedAt: morning, SeenAt: morning, ExpiresAt: morning}
	changeSignIn(t, s, func(tx signin.Tx) error { return errors.Join(tx.PutTicket(full), tx.PutTicket(bare)) })
	viewSignIn(t, s, func(r signin.Reader) error {
		got, err := r.Ticket(full.Hash)
		same(t, got, &full)
		other, errBare := r.Ticket(bare.Hash)
		same(t, other, &bare)
		return errors.Join(err, errBare)
	})
}

func unknownSignInIsNil(t *testing.T, s signin.Store) {
	look := func(r signin.Reader) error {
		o, err1 := r.Operator("ada")
		bySubject, err2 := r.OperatorBySubject("https://id.example.com 7")
		k, err3 := r.Passkey([]byte{1})
		ticket, err4 := r.Ticket(signin.Hash{1})
		if o != nil || bySubject != nil || k != nil || ticket != nil {
			t.Errorf("rows of an empty store: %v, %v, %v, %v", o, bySubject, k, ticket)
		}
		return errors.Join(err1, err2, err3, err4)
	}
	viewSignIn(t, s, look)
	changeSignIn(t, s, func(tx signin.Tx) error {
		return errors.Join(look(tx), tx.DeletePasskey([]byte{1}), tx.DeleteTicket(signin.Hash{1}), tx.DeleteTickets(signin.KindLink, "ada"))
	})
}

func signInPutReplaces(t *testing.T, s signin.Store) {
	o, k, ticket := newOperator("ada"), newPasskey(1, "ada", morning), newTicket(1, signin.KindLink, "ada", morning)
	put := func(tx signin.Tx) error {
		return errors.Join(tx.PutOperator(o), tx.PutPasskey(k), tx.PutTicket(ticket))
	}
	changeSignIn(t, s, put)
	o = signin.Operator{Name: "ada", Role: access.RoleAdmin, Handle: []byte{3}, Subject: "x", CreatedAt: atLast, DisabledAt: atLast}
	k = signin.Passkey{Credential: passkey.Credential{ID: []byte{1}, SignCount: 7}, Operator: "eve", Name: "other", CreatedAt: atLast, UsedAt: atLast}
	ticket = signin.Ticket{Hash: ticket.Hash, Kind: signin.KindSession, Operator: "eve", Count: 1, CreatedAt: atLast, SeenAt: atLast, ExpiresAt: atLast, Data: []byte{1}}
	changeSignIn(t, s, put)
	viewSignIn(t, s, func(r signin.Reader) error {
		gotO, err1 := r.Operator("ada")
		gotK, err2 := r.Passkey(k.ID)
		gotT, err3 := r.Ticket(ticket.Hash)
		same(t, gotO, &o)
		same(t, gotK, &k)
		same(t, gotT, &ticket)
		return errors.Join(err1, err2, err3)
	})
}

func subjectsAreUnique(t *testing.T, s signin.Store) {
	one, other, without := newOperator("ada"), newOperator("eve"), newOperator("grace")
	one.Subject, other.Subject = "https://id.example.com 7", "https://id.example.com 7"
	changeSignIn(t, s, func(tx signin.Tx) error {
		return errors.Join(tx.PutOperator(one), tx.PutOperator(without), tx.PutOperator(newOperator("bob")))
	})
	err := s.UpdateSignIn(t.Context(), func(tx signin.Tx) error { return tx.PutOperator(other) })
	if !errors.Is(err, signin.ErrNameTaken) {
		t.Errorf("a second operator with the subject: %v; want %v", err, signin.ErrNameTaken)
	}
	changeSignIn(t, s, func(tx signin.Tx) error { return tx.PutOperator(one) })
}

func signInIsListed(t *testing.T, s signin.Store) {
	first, second, others := newPasskey(9, "ada", morning), newPasskey(1, "ada", morning.Add(time.Second)), newPasskey(2, "eve", morning)
	early, late := newTicket(9, signin.KindSession, "ada", morning), newTicket(1, signin.KindSession, "ada", morning.Add(time.Second))
	link, eves := newTicket(3, signin.KindLink, "ada", morning), newTicket(4, signin.KindSession, "eve", morning.Add(time.Minute))
	changeSignIn(t, s, func(tx signin.Tx) error {
		return errors.Join(tx.PutPasskey(second), tx.PutPasskey(others), tx.PutPasskey(first),
			tx.PutTicket(late), tx.PutTicket(early), tx.PutTicket(link), tx.PutTicket(eves))
	})
	viewSignIn(t, s, func(r signin.Reader) error {
		own, err1 := r.Passkeys("ada")
		sameList(t, own, []signin.Passkey{first, second})
		all, err2 := r.Passkeys("")
		sameList(t, all, []signin.Passkey{others, first, second})
		sessions, err3 := r.Tickets(signin.KindSession, "ada")
		sameList(t, sessions, []signin.Ticket{early, late})
		every, err4 := r.Tickets(signin.KindSession, "")
		sameList(t, every, []signin.Ticket{early, late, eves})
		return errors.Join(err1, err2, err3, err4)
	})
}

func signInDeletes(t *testing.T, s signin.Store) {
	kept := newTicket(1, signin.KindSession, "eve", morning)
	link := newTicket(2, signin.KindLink, "ada", morning)
	changeSignIn(t, s, func(tx signin.Tx) error {
		return errors.Join(tx.PutTicket(kept), tx.PutTicket(link), tx.PutTicket(newTicket(3, signin.KindSession, "ada", morning)),
			tx.PutTicket(newTicket(4, signin.KindSession, "ada", morning)), tx.PutTicket(newTicket(5, signin.KindCeremony, "", morning)),
			tx.PutPasskey(newPasskey(1, "ada", morning)), tx.PutPasskey(newPasskey(2, "ada", morning)))
	})
	changeSignIn(t, s, func(tx signin.Tx) error {
		return errors.Join(tx.DeleteTickets(signin.KindSession, "ada"), tx.DeleteTicket(signin.Hash{5}), tx.DeletePasskey([]byte{1}))
	})
	viewSignIn(t, s, func(r signin.Reader) error {
		sessions, err1 := r.Tickets(signin.KindSession, "")
		sameList(t, sessions, []signin.Ticket{kept})
		links, err2 := r.Tickets(signin.KindLink, "")
		sameList(t, links, []signin.Ticket{link})
		ceremony, err3 := r.Ticket(signin.Hash{5})
		same(t, ceremony, nil)
		keys, err4 := r.Passkeys("ada")
		sameList(t, keys, []signin.Passkey{newPasskey(2, "ada", morning)})
		return errors.Join(err1, err2, err3, err4)
	})
}

func expiredTicketsAreDeleted(t *testing.T, s signin.Store) {
	now := morning.Add(time.Hour) // when the first of them expires
	later := newTicket(9, signin.KindLink, "ada", morning.Add(time.Millisecond))
	changeSignIn(t, s, func(tx signin.Tx) error {
		for n := range byte(5) {
			if err := tx.PutTicket(newTicket(n+1, signin.KindLink, "ada", morning.Add(-time.Duration(n)*time.Minute))); err != nil {
				return err
			}
		}
		return tx.PutTicket(later)
	})
	for _, want := range []int{4, 2, 1, 1} {
		changeSignIn(t, s, func(tx signin.Tx) error { return tx.DeleteExpired(now, 2) })
		viewSignIn(t, s, func(r signin.Reader) error {
			left, err := r.Tickets(signin.KindLink, "ada")
			if len(left) != want {
				t.Errorf("%d tickets are left; want %d", len(left), want)
			}
			return err
		})
	}
	viewSignIn(t, s, func(r signin.Reader) error {
		got, err := r.Ticket(later.Hash)
		same(t, got, &later)
		return err
	})
}

func failedSignInLeavesNothing(t *testing.T, s signin.Store) {
	failure := errors.New("no")
	err := s.UpdateSignIn(t.Context(), func(tx signin.Tx) error {
		return errors.Join(tx.PutOperator(newOperator("ada")), tx.PutTicket(newTicket(1, signin.KindLink, "ada", morning)),
			tx.Append(mfa.Event{ID: newID(morning, 3), At: morning, Type: mfa.OperatorCreated}), failure)
	})
	if !errors.Is(err, failure) {
		t.Errorf("UpdateSignIn = %v; want the error of fn", err)
	}
	viewSignIn(t, s, func(r signin.Reader) error {
		o, err1 := r.Operator("ada")
		ticket, err2 := r.Ticket(signin.Hash{1})
		same(t, o, nil)
		same(t, ticket, nil)
		return errors.Join(err1, err2)
	})
	if all := eventsOf(t, s, 0); len(all) != 0 {
		t.Errorf("the events are %+v", all)
	}
	if err := s.ViewSignIn(t.Context(), func(signin.Reader) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("ViewSignIn = %v; want the error of fn", err)
	}
}

func signInAppendsEvents(t *testing.T, s signin.Store) {
	changeSignIn(t, s, func(tx signin.Tx) error {
		for _, typ := range []mfa.EventType{mfa.OperatorCreated, mfa.OperatorSignedIn} {
			e := mfa.Event{ID: newID(morning, 3), At: morning, Type: typ, Reason: "ada", Caller: "operator:ada", Request: "r"}
			if err := tx.Append(e); err != nil {
				return err
			}
		}
		return tx.PutOperator(newOperator("ada"))
	})
	all := eventsOf(t, s, 0)
	if len(all) != 2 || all[0].Type != mfa.OperatorCreated || all[1].Type != mfa.OperatorSignedIn || all[1].Caller != "operator:ada" || all[1].ID.Bucket() != 3 {
		t.Errorf("the events are %+v", all)
	}
}

func signInIsSerial(t *testing.T, s signin.Store) {
	const callers, rounds = 8, 5
	for i, err := range together(callers, func(int) error {
		for range rounds {
			err := s.UpdateSignIn(t.Context(), func(tx signin.Tx) error {
				// The row is missing at first, so no row lock could do this.
				ticket, err := tx.Ticket(signin.Hash{1})
				if err != nil {
					return err
				}
				if ticket == nil {
					made := newTicket(1, signin.KindAttempts, "", morning)
					ticket = &made
				}
				ticket.Count++
				return tx.PutTicket(*ticket)
			})
			if err != nil {
				return err
			}
		}
		return nil
	}) {
		if err != nil {
			t.Error(fmt.Errorf("caller %d: %w", i, err))
		}
	}
	viewSignIn(t, s, func(r signin.Reader) error {
		got, err := r.Ticket(signin.Hash{1})
		if err == nil && got.Count != callers*rounds {
			t.Errorf("%d changes are stored; want %d", got.Count, callers*rounds)
		}
		return err
	})
}

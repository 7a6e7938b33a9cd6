package smpp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/wallclock"
)

const (
	writeTimeout  = 10 * time.Second // for one frame
	forgetAfter   = time.Minute      // after it, a request without an answer leaves the window
	maxDeliveries = 256              // deliver_sm that wait for OnReceipt
)

// A session is one connection from bind to end.
type session struct {
	conn     net.Conn
	in       *bufio.Reader
	answerIn time.Duration // how long an answer to enquire_link and unbind may take
	window   chan struct{} // a token for each submit_sm without an answer
	out      chan outgoingFrame
	inbox    chan pdu // deliver_sm
	ended    chan struct{}
	endOnce  sync.Once
	tasks    sync.WaitGroup

	mu       sync.Mutex
	sequence uint32
	pending  map[uint32]*pendingRequest
	heard    time.Time // when the last frame arrived
	why      error     // the reason of the end
}

// An outgoingFrame waits for the writer.
type outgoingFrame struct {
	bytes []byte
	wrote func(error) // called once; after an error the carrier cannot have received the whole frame
}

// A pendingRequest waits for its answer.
type pendingRequest struct {
	result  chan requestResult // has room for one
	since   time.Time
	release func() // frees its place in the window
}

type requestResult struct {
	answer  pdu
	err     error
	arrived bool // whether the request may have arrived, if err is set
}

func newSession(conn net.Conn, window int, answerIn time.Duration) *session {
	return &session{
		conn: conn, in: bufio.NewReader(conn), answerIn: answerIn,
		window: make(chan struct{}, window), out: make(chan outgoingFrame),
		inbox: make(chan pdu, maxDeliveries), ended: make(chan struct{}),
		pending: map[uint32]*pendingRequest{},
	}
}

// bind binds the session, before it is used otherwise. The error is an *sms.Error if the
// carrier answered.
func (s *session) bind(ctx context.Context, body []byte) error {
	stop := context.AfterFunc(ctx, func() { s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	s.sequence = 1
	if _, err := s.conn.Write(pdu{command: bindTransceiver, sequence: 1, body: body}.frame()); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	for {
		p, err := readPDU(s.in)
		switch {
		case err != nil:
			return fmt.Errorf("bind: %w", err)
		case p.command == bindTransceiver|answerBit && p.status == 0:
			if !stop() {
				return fmt.Errorf("bind: %w", ctx.Err())
			}
			return nil
		case p.command == bindTransceiver|answerBit || p.command == genericNack:
			return statusError(p.status, nil)
		}
	}
}

// run serves a bound session until it ends and returns the reason. deliver handles a
// deliver_sm and returns the status of the answer.
func (s *session) run(enquireEvery time.Duration, now func() time.Time, deliver func(body []byte) (status uint32)) error {
	s.heard = now()
	s.tasks.Go(s.write)
	s.tasks.Go(func() { s.read(now) })
	s.tasks.Go(func() { s.enquire(enquireEvery, now) })
	s.tasks.Go(func() {
		for {
			select {
			case p := <-s.inbox:
				s.reply(p, deliver(p.body))
			case <-s.ended:
				return
			}
		}
	})
	<-s.ended
	s.tasks.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// end closes the connection. All pending requests end without an answer.
func (s *session) end(why error) {
	s.endOnce.Do(func() {
		s.mu.Lock()
		s.why = why
		waiting := s.pending
		s.pending = nil
		s.mu.Unlock()
		close(s.ended)
		s.conn.Close()
		for _, r := range waiting {
			r.finish(requestResult{err: why, arrived: true})
		}
	})
}

func (r *pendingRequest) finish(result requestResult) {
	select {
	case r.result <- result:
		r.release()
	default: // it already has a result
	}
}

var errWindowFull = errors.New("too many messages wait for an answer")

// request sends a request and waits for its answer. If windowed is set, it first waits for a
// place in the window. The request keeps the place until it is answered, also after ctx is
// done.
func (s *session) request(ctx context.Context, command uint32, body []byte, windowed bool, now time.Time) requestResult {
	release := func() {}
	if windowed {
		select {
		case s.window <- struct{}{}:
			release = func() { <-s.window }
		case <-ctx.Done():
			return requestResult{err: errWindowFull}
		case <-s.ended:
			return requestResult{err: net.ErrClosed}
		}
	}
	r := &pendingRequest{result: make(chan requestResult, 1), since: now, release: release}
	sequence, ok := s.await(r)
	if !ok {
		release()
		return requestResult{err: net.ErrClosed}
	}
	unsent := func(err error) { s.settle(sequence, requestResult{err: err}) }
	frame := outgoingFrame{
		bytes: pdu{command: command, sequence: sequence, body: body}.frame(),
		wrote: func(err error) {
			if err != nil {
				unsent(err)
			}
		},
	}
	select {
	case s.out <- frame:
	case <-ctx.Done():
		unsent(ctx.Err())
		return requestResult{err: ctx.Err()}
	case <-s.ended:
		return requestResult{err: net.ErrClosed}
	}
	select {
	case result := <-r.result:
		return result
	case <-ctx.Done():
		return requestResult{err: ctx.Err(), arrived: true}
	}
}

// await registers r for the answer with the sequence number that it returns. ok is false if
// the session has ended.
func (s *session) await(r *pendingRequest) (sequence uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		return 0, false
	}
	for {
		s.sequence = s.sequence%0x7FFFFFFF + 1
		if _, taken := s.pending[s.sequence]; !taken {
			break
		}
	}
	s.pending[s.sequence] = r
	return s.sequence, true
}

// settle gives a pending request its result. It does nothing if no request has the number.
func (s *session) settle(sequence uint32, result requestResult) {
	s.mu.Lock()
	r, ok := s.pending[sequence]
	delete(s.pending, sequence)
	s.mu.Unlock()
	if ok {
		r.finish(result)
	}
}

func (s *session) write() {
	for {
		select {
		case f := <-s.out:
			s.conn.SetWriteDeadline(wallclock.Deadline(writeTimeout))
			_, err := s.conn.Write(f.bytes)
			f.wrote(err)
			if err != nil {
				s.end(fmt.Errorf("write: %w", err))
				return
			}
		case <-s.ended:
			return
		}
	}
}

func (s *session) read(now func() time.Time) {
	for {
		p, err := readPDU(s.in)
		if err != nil {
			s.end(fmt.Errorf("read: %w", err))
			return
		}
		s.mu.Lock()
		s.heard = now()
		s.mu.Unlock()
		switch {
		case p.command&answerBit != 0: // generic_nack too
			s.settle(p.sequence, requestResult{answer: p})
		case p.command == deliverSM:
			select {
			case s.inbox <- p:
			default:
				s.reply(p, statusQueueFull)
			}
		case p.command == unbind:
			done := make(chan struct{})
			s.send(pdu{command: unbind | answerBit, sequence: p.sequence}, func(error) { close(done) })
			select {
			case <-done:
			case <-s.ended:
			}
			s.end(errors.New("unbound by the carrier"))
			return
		case p.command == enquireLink:
			s.reply(p, 0)
		default:
			s.send(pdu{command: genericNack, status: statusUnknownCommand, sequence: p.sequence}, func(error) {})
		}
	}
}

func (s *session) reply(p pdu, status uint32) {
	answer := pdu{command: p.command | answerBit, status: status, sequence: p.sequence}
	if p.command == deliverSM {
		answer.body = []byte{0} // an empty message_id
	}
	s.send(answer, func(error) {})
}

func (s *session) send(p pdu, wrote func(error)) {
	select {
	case s.out <- outgoingFrame{bytes: p.frame(), wrote: wrote}:
	case <-s.ended:
	}
}

// enquire sends enquire_link after a time of silence, and ends requests that the carrier
// never answered.
func (s *session) enquire(every time.Duration, now func() time.Time) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		silent := now().Sub(s.heard) >= every
		var old []uint32
		for sequence, r := range s.pending {
			if now().Sub(r.since) > forgetAfter {
				old = append(old, sequence)
			}
		}
		s.mu.Unlock()
		for _, sequence := range old {
			s.settle(sequence, requestResult{err: errors.New("never answered"), arrived: true})
		}
		if !silent {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.answerIn)
		result := s.request(ctx, enquireLink, nil, false, now())
		cancel()
		if result.err != nil {
			s.end(errors.New("enquire_link was not answered"))
			return
		}
	}
}

// unbind sends unbind, waits for the answer and ends the session.
func (s *session) unbind(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, s.answerIn)
	defer cancel()
	s.request(ctx, unbind, nil, false, now)
	s.end(net.ErrClosed)
}

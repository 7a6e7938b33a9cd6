package sms

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	smppWriteTimeout = 10 * time.Second // for one frame
	smppForgetAfter  = time.Minute      // a request that is not answered leaves the window
	smppDeliveries   = 256              // deliver_sm that wait for their callback
)

// A smppSession is one connection, from its bind to its end.
type smppSession struct {
	conn     net.Conn
	in       *bufio.Reader
	answerIn time.Duration // to enquire_link and unbind
	window   chan struct{} // holds a token for each submit_sm that is not answered
	out      chan smppFrame
	inbox    chan smppPDU // deliver_sm
	ended    chan struct{}
	endOnce  sync.Once
	tasks    sync.WaitGroup

	mu       sync.Mutex
	sequence uint32
	pending  map[uint32]*smppRequest
	heard    time.Time // when anything last arrived
	why      error     // it ended
}

// A smppFrame waits for the writer.
type smppFrame struct {
	bytes []byte
	wrote func(error) // called once; after an error the frame cannot have arrived whole
}

// A smppRequest waits for its answer.
type smppRequest struct {
	result  chan smppResult // holds one
	since   time.Time
	release func() // gives its place in the window back
}

type smppResult struct {
	answer  smppPDU
	err     error
	arrived bool // the request may have, where err is set
}

func newSMPPSession(conn net.Conn, window int, answerIn time.Duration) *smppSession {
	return &smppSession{
		conn: conn, in: bufio.NewReader(conn), answerIn: answerIn,
		window: make(chan struct{}, window), out: make(chan smppFrame),
		inbox: make(chan smppPDU, smppDeliveries), ended: make(chan struct{}),
		pending: map[uint32]*smppRequest{},
	}
}

// bind asks to send and receive, before anything else does. The error is an *Error
// if the other side answered.
func (s *smppSession) bind(ctx context.Context, body []byte) error {
	stop := context.AfterFunc(ctx, func() { s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	s.sequence = 1
	if _, err := s.conn.Write(smppPDU{command: smppBindTransceiver, sequence: 1, body: body}.frame()); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	for {
		p, err := readSMPP(s.in)
		switch {
		case err != nil:
			return fmt.Errorf("bind: %w", err)
		case p.command == smppBindTransceiver|smppAnswer && p.status == 0:
			if !stop() {
				return fmt.Errorf("bind: %w", ctx.Err())
			}
			return nil
		case p.command == smppBindTransceiver|smppAnswer || p.command == smppGenericNack:
			return smppError(p.status, nil)
		}
	}
}

// run serves a bound session until it ends, and returns why it did. deliver
// returns the status that answers a deliver_sm.
func (s *smppSession) run(enquireEvery time.Duration, now func() time.Time, deliver func(body []byte) (status uint32)) error {
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

// end closes the connection. What waits for an answer learns that none will come.
func (s *smppSession) end(why error) {
	s.endOnce.Do(func() {
		s.mu.Lock()
		s.why = why
		waiting := s.pending
		s.pending = nil
		s.mu.Unlock()
		close(s.ended)
		s.conn.Close()
		for _, r := range waiting {
			r.finish(smppResult{err: why, arrived: true})
		}
	})
}

func (r *smppRequest) finish(result smppResult) {
	select {
	case r.result <- result:
		r.release()
	default: // it has its result already
	}
}

var errSMPPWindow = errors.New("too many messages are not answered")

// request sends one and waits for its answer. Those of the window wait for a place
// in it, and keep that until they are answered, also after ctx is done.
func (s *smppSession) request(ctx context.Context, command uint32, body []byte, windowed bool, now time.Time) smppResult {
	release := func() {}
	if windowed {
		select {
		case s.window <- struct{}{}:
			release = func() { <-s.window }
		case <-ctx.Done():
			return smppResult{err: errSMPPWindow}
		case <-s.ended:
			return smppResult{err: net.ErrClosed}
		}
	}
	r := &smppRequest{result: make(chan smppResult, 1), since: now, release: release}
	sequence, ok := s.await(r)
	if !ok {
		release()
		return smppResult{err: net.ErrClosed}
	}
	unsent := func(err error) { s.settle(sequence, smppResult{err: err}) }
	frame := smppFrame{
		bytes: smppPDU{command: command, sequence: sequence, body: body}.frame(),
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
		return smppResult{err: ctx.Err()}
	case <-s.ended:
		return smppResult{err: net.ErrClosed}
	}
	select {
	case result := <-r.result:
		return result
	case <-ctx.Done():
		return smppResult{err: ctx.Err(), arrived: true}
	}
}

// await makes r wait for the answer to the number that it returns; not ok means
// that the session has ended.
func (s *smppSession) await(r *smppRequest) (sequence uint32, ok bool) {
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

// settle gives the request of that number its result, if it still waits.
func (s *smppSession) settle(sequence uint32, result smppResult) {
	s.mu.Lock()
	r, ok := s.pending[sequence]
	delete(s.pending, sequence)
	s.mu.Unlock()
	if ok {
		r.finish(result)
	}
}

func (s *smppSession) write() {
	for {
		select {
		case f := <-s.out:
			s.conn.SetWriteDeadline(time.Now().Add(smppWriteTimeout))
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

func (s *smppSession) read(now func() time.Time) {
	for {
		p, err := readSMPP(s.in)
		if err != nil {
			s.end(fmt.Errorf("read: %w", err))
			return
		}
		s.mu.Lock()
		s.heard = now()
		s.mu.Unlock()
		switch {
		case p.command&smppAnswer != 0: // generic_nack too
			s.settle(p.sequence, smppResult{answer: p})
		case p.command == smppDeliverSM:
			select {
			case s.inbox <- p:
			default:
				s.reply(p, smppQueueFull)
			}
		case p.command == smppUnbind:
			done := make(chan struct{})
			s.send(smppPDU{command: smppUnbind | smppAnswer, sequence: p.sequence}, func(error) { close(done) })
			select {
			case <-done:
			case <-s.ended:
			}
			s.end(errors.New("unbound by the other side"))
			return
		case p.command == smppEnquireLink:
			s.reply(p, 0)
		default:
			s.send(smppPDU{command: smppGenericNack, status: smppUnknownCommand, sequence: p.sequence}, func(error) {})
		}
	}
}

func (s *smppSession) reply(p smppPDU, status uint32) {
	answer := smppPDU{command: p.command | smppAnswer, status: status, sequence: p.sequence}
	if p.command == smppDeliverSM {
		answer.body = []byte{0} // an empty message_id
	}
	s.send(answer, func(error) {})
}

func (s *smppSession) send(p smppPDU, wrote func(error)) {
	select {
	case s.out <- smppFrame{bytes: p.frame(), wrote: wrote}:
	case <-s.ended:
	}
}

// enquire asks whether the other side is there when it has been silent, and forgets
// requests that it never answered.
func (s *smppSession) enquire(every time.Duration, now func() time.Time) {
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
			if now().Sub(r.since) > smppForgetAfter {
				old = append(old, sequence)
			}
		}
		s.mu.Unlock()
		for _, sequence := range old {
			s.settle(sequence, smppResult{err: errors.New("never answered"), arrived: true})
		}
		if !silent {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.answerIn)
		result := s.request(ctx, smppEnquireLink, nil, false, now())
		cancel()
		if result.err != nil {
			s.end(errors.New("enquire_link was not answered"))
			return
		}
	}
}

// unbind takes leave, and ends the session.
func (s *smppSession) unbind(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, s.answerIn)
	defer cancel()
	s.request(ctx, smppUnbind, nil, false, now)
	s.end(net.ErrClosed)
}

package queue_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/queue"
)

// serve answers each job with the error that is its work, and sends the size of each
// group. It waits for leave before each group.
func serve(t *testing.T, q *queue.Queue[error], most int) (leave chan<- bool, sizes <-chan int) {
	t.Helper()
	in, out := make(chan bool), make(chan int, 100)
	go func() {
		q.Serve(most, nil, func(group []*queue.Job[error], _ *queue.Hold) {
			<-in
			for _, j := range group {
				j.Err = j.Work
			}
			out <- len(group)
		}, func() {})
		close(out)
	}()
	return in, out
}

func TestWaitingJobsAreOneGroup(t *testing.T) {
	q := queue.New[error](10)
	var callers sync.WaitGroup
	wrong := errors.New("wrong")
	add := func(work error) {
		callers.Go(func() {
			if err := q.Do(t.Context(), work); err != work {
				t.Errorf("Do = %v; want %v", err, work)
			}
		})
	}
	for n := range 6 {
		if n%2 == 0 {
			add(nil)
		} else {
			add(wrong)
		}
	}
	leave, sizes := serve(t, q, 4)
	total := 0
	for total < 6 {
		leave <- true
		n := <-sizes
		if n > 4 {
			t.Errorf("a group of %d; want at most 4", n)
		}
		total += n
	}
	callers.Wait()
	q.Close()
	if _, more := <-sizes; more {
		t.Error("there was another group")
	}
}

func TestCanceledWaitingJobIsNotServed(t *testing.T) {
	q := queue.New[error](10)
	ctx, giveUp := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() { gaveUp <- q.Do(ctx, errors.New("served")) }()
	giveUp()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("Do = %v; want context.Canceled", err)
	}
	_, sizes := serve(t, q, 4)
	q.Close()
	if n, more := <-sizes; more {
		t.Errorf("a group of %d was served", n)
	}
}

func TestCanceledTakenJobIsAnswered(t *testing.T) {
	q := queue.New[error](10)
	ctx, giveUp := context.WithCancel(t.Context())
	served := errors.New("served")
	answered := make(chan error)
	begun := make(chan bool)
	go func() { answered <- q.Do(ctx, served) }()
	go q.Serve(4, nil, func(group []*queue.Job[error], _ *queue.Hold) {
		close(begun)
		<-ctx.Done()
		group[0].Err = group[0].Work
	}, func() {})
	<-begun
	giveUp()
	if err := <-answered; err != served {
		t.Errorf("Do = %v; want what became of it", err)
	}
	q.Close()
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	q := queue.New[error](2)
	var callers sync.WaitGroup
	results := make(chan error, 3)
	for range 3 {
		callers.Go(func() { results <- q.Do(t.Context(), nil) })
	}
	if err := <-results; !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("the third: %v; want ErrUnavailable", err)
	}
	leave, _ := serve(t, q, 4)
	leave <- true
	q.Close()
	callers.Wait()
}

func TestRefuseAnswersWaitingJobs(t *testing.T) {
	q := queue.New[error](10)
	down := errors.New("down")
	answered := make(chan error, 4)
	for range 4 {
		go func() { answered <- q.Do(t.Context(), nil) }()
	}
	gone, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() { given <- q.Do(gone, nil) }()
	for q.Waiting() < 5 {
		runtime.Gosched()
	}
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v", err)
	}
	q.Refuse(down)
	for range 4 {
		if err := <-answered; err != down {
			t.Errorf("Do = %v; want %v", err, down)
		}
	}
	q.Refuse(down) // no job is waiting
	leave, sizes := serve(t, q, 4)
	go func() { answered <- q.Do(t.Context(), nil) }()
	leave <- true
	if n := <-sizes; n != 1 {
		t.Errorf("a group of %d; want 1", n)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	q.Close()
	q.Refuse(down)
}

func TestClosedQueueAnswersWaitingJobs(t *testing.T) {
	q := queue.New[error](10)
	answered := make(chan error, 1)
	go func() { answered <- q.Do(t.Context(), nil) }()
	leave, sizes := serve(t, q, 4)
	leave <- true
	<-sizes
	if err := <-answered; err != nil {
		t.Error(err)
	}
	q.Close()
	q.Close()
	if err := q.Do(t.Context(), nil); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Do = %v; want ErrClosed", err)
	}
}

// TestNextServerGathersAfterRelease has two servers with the same turn. The first
// server releases its hold twice and is still busy when the second server takes a job.
func TestNextServerGathersAfterRelease(t *testing.T) {
	q := queue.New[error](2)
	var turn queue.Turn
	busy, both := make(chan struct{}), make(chan struct{}, 2)
	for range 2 {
		go q.Serve(1, &turn, func(_ []*queue.Job[error], hold *queue.Hold) {
			hold.Release()
			hold.Release()
			both <- struct{}{}
			<-busy
		}, func() {})
	}
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- q.Do(t.Context(), nil) }()
	}
	<-both
	<-both // both servers are in their groups
	close(busy)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	q.Close()
}

package transport

// A socket can wait for its client without a goroutine: somebody is woken when
// there is something to receive.

// rest has w woken when receive would not wait, unless the socket is not one
// that can be watched. It is called by the reader, who reads no longer when it has
// returned true.
func (s *socket) rest(w Waker, in *registry) bool {
	if s.source.raw == nil || s.lost != nil || len(s.source.early) > 0 || len(s.posted) > 0 {
		return false
	}
	by := in.watch()
	if by == nil {
		return false
	}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return false
	}
	s.waker = w
	s.mu.Unlock()
	if by.watch(s) {
		return true
	}
	return s.takeWaker() == nil // then it has been woken
}

func (s *socket) takeWaker() Waker {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waker
	s.waker = nil
	return w
}

// wake ends the rest, if there is one.
func (s *socket) wake() {
	if w := s.takeWaker(); w != nil {
		w.Wake()
	}
}

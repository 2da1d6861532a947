package backplane

// registry is the connections of this server, found by id, by user and by
// group. Members sit in dense slices, so that a send walks memory in order; each
// knows its places, so that leaving costs the same however many there are. It
// is not safe for concurrent use: Local guards it.
type registry struct {
	byID   map[string]*member
	all    []*member
	users  map[string][]*member // no empty slices
	groups map[string][]*member // no empty slices
	speak  []int                // how many members speak each protocol
}

// member is one registered connection. Its positions change when another
// member is removed.
type member struct {
	// set once
	connection Connection
	gatherer   Gatherer // the connection, if it is one
	id, user   string
	speaks     int // index of its protocol

	gathered bool // it stands in a gathering, whose owner guards this

	inAll    int
	inUser   int
	inGroups map[string]int // nil until it joins one
}

func newRegistry(protocols int) registry {
	return registry{
		byID:   make(map[string]*member),
		users:  make(map[string][]*member),
		groups: make(map[string][]*member),
		speak:  make([]int, protocols),
	}
}

// add reports false if the id is taken.
func (r *registry) add(c Connection, speaks int) bool {
	m := &member{connection: c, id: c.ID(), user: c.UserID(), speaks: speaks}
	m.gatherer, _ = c.(Gatherer)
	if r.byID[m.id] != nil {
		return false
	}
	r.byID[m.id] = m
	r.speak[speaks]++
	m.inAll = len(r.all)
	r.all = append(r.all, m)
	if m.user != "" {
		m.inUser = len(r.users[m.user])
		r.users[m.user] = append(r.users[m.user], m)
	}
	return true
}

// remove returns the groups the connection was in; ok is false if it is not
// the one registered under its id.
func (r *registry) remove(c Connection) (groups []string, ok bool) {
	m := r.byID[c.ID()]
	if m == nil || m.connection != c {
		return nil, false
	}
	delete(r.byID, m.id)
	r.speak[m.speaks]--
	r.all = without(r.all, m.inAll, func(moved *member) { moved.inAll = m.inAll })
	if m.user != "" {
		rest := without(r.users[m.user], m.inUser, func(moved *member) { moved.inUser = m.inUser })
		setOrDelete(r.users, m.user, rest)
	}
	for group := range m.inGroups {
		groups = append(groups, group)
	}
	for _, group := range groups {
		r.leaveGroup(m, group)
	}
	return groups, true
}

func (r *registry) join(id, group string) (known, added bool, err error) {
	m := r.byID[id]
	if m == nil {
		return false, false, nil
	}
	if _, in := m.inGroups[group]; in {
		return true, false, nil
	}
	if b, ok := m.connection.(Bounded); ok && b.MaxGroups() >= 0 && len(m.inGroups) >= b.MaxGroups() {
		b.GroupRefused()
		return true, false, ErrTooManyGroups
	}
	if m.inGroups == nil {
		m.inGroups = make(map[string]int)
	}
	m.inGroups[group] = len(r.groups[group])
	r.groups[group] = append(r.groups[group], m)
	return true, true, nil
}

func (r *registry) leave(id, group string) (known, removed bool) {
	m := r.byID[id]
	if m == nil {
		return false, false
	}
	if _, in := m.inGroups[group]; !in {
		return true, false
	}
	r.leaveGroup(m, group)
	return true, true
}

func (r *registry) leaveGroup(m *member, group string) {
	position := m.inGroups[group]
	rest := without(r.groups[group], position, func(moved *member) { moved.inGroups[group] = position })
	setOrDelete(r.groups, group, rest)
	delete(m.inGroups, group)
}

// spoken is the protocols that at least one member speaks.
func (r *registry) spoken() (set protocolSet) {
	for i, n := range r.speak {
		if n > 0 {
			set |= 1 << i
		}
	}
	return set
}

// resolve turns ids to leave out into members; unknown ones mean nobody.
func (r *registry) resolve(ids []string) map[*member]struct{} {
	if len(ids) == 0 {
		return nil
	}
	except := make(map[*member]struct{})
	for _, id := range ids {
		if m := r.byID[id]; m != nil {
			except[m] = struct{}{}
		}
	}
	return except
}

// without moves the last element to the place of the one that goes.
func without[T any](all []*T, position int, moved func(*T)) []*T {
	last := len(all) - 1
	if position != last {
		all[position] = all[last]
		moved(all[position])
	}
	all[last] = nil
	return all[:last]
}

func setOrDelete[T any](sets map[string][]T, name string, all []T) {
	if len(all) == 0 {
		delete(sets, name)
		return
	}
	sets[name] = all
}

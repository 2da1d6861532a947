package backplane

// Target says whom a send is meant for. The zero Target is everybody.
//
// A Target is a value: it may be kept, compared by its readers and used by
// any number of goroutines, as long as nobody changes the slices it was made
// from.
type Target struct {
	kind   targetKind
	names  []string // connection ids, groups or users
	except []string // connection ids
	single bool     // made for one name, which may be empty if it is a group's
}

type targetKind uint8

const (
	toAll targetKind = iota
	toConnections
	toGroups
	toUsers
)

// All is every connection of the hub, on every server.
func All() Target { return Target{} }

// AllExcept is every connection but those with the given ids.
func AllExcept(connectionIDs ...string) Target { return Target{except: connectionIDs} }

// Client is the connection with the given id, wherever it is.
func Client(connectionID string) Target { return Clients(connectionID) }

// Clients is the connections with the given ids.
func Clients(connectionIDs ...string) Target {
	return Target{kind: toConnections, names: connectionIDs}
}

// Group is every member of a group. Group names are case-sensitive, and may be empty.
func Group(name string) Target { return GroupExcept(name) }

// Groups is every member of several groups. A member of two of them receives
// the message twice, and no name may be empty, as in ASP.NET Core.
func Groups(names ...string) Target { return Target{kind: toGroups, names: names} }

// GroupExcept is every member of a group but the connections with the given ids.
func GroupExcept(name string, connectionIDs ...string) Target {
	return Target{kind: toGroups, names: []string{name}, except: connectionIDs, single: true}
}

// User is every connection of a user. User ids are case-sensitive.
func User(id string) Target { return Users(id) }

// Users is every connection of several users.
func Users(ids ...string) Target { return Target{kind: toUsers, names: ids} }

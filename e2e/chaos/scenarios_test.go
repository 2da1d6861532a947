package chaos

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"
	"time"
)

// scenario is something that happens to a farm.
type scenario struct {
	name  string
	farm  func(t *testing.T) *farm
	holds string // what must, besides what holds of all traffic
	do    func(r *run)

	// again says that it can happen to one farm, of conformance servers on one Redis,
	// any number of times.
	again bool

	// alone says that no other runs beside it: its promise is about clients that do not
	// stand still.
	alone bool
}

// run is one time that a scenario happens.
type run struct {
	*testing.T
	*farm
	traffic *traffic
	rand    *rand.Rand
}

// farmsAtOnce is how many farms run at once: mostly they wait.
const farmsAtOnce = 7

// three is what most scenarios happen to: three servers on one Redis.
func three(t *testing.T) *farm { return newFarm(t, conformance, 3) }

// scenarios is in the order of the table in docs/chaos.md.
func scenarios() []scenario {
	return []scenario{
		{name: "2,000 connections come and go, also in the middle of a handshake or of a message", farm: three, do: churn, again: true,
			holds: "each call of those who wait for it is answered"},
		{name: "a server with 500 clients is killed, who all come back at once", farm: three, do: storm, again: true,
			holds: "each is in, and its calls are answered"},
		{name: "clients stop reading", farm: three, do: stopReading, again: true,
			holds: "they are dropped"},
		{name: "clients vanish without a word", farm: three, do: vanish, again: true,
			holds: "they are missed, and their groups given up"},
		{name: "connections of clients are cut", farm: three, do: cutClients, again: true,
			holds: "each has what was sent up to its end, without a gap"},
		{name: "event streams are cut", farm: three, do: cutEvents, again: true,
			holds: "likewise"},
		{name: "sockets of connections that can be resumed are cut", farm: three, do: cutResumed, again: true,
			holds: "messages come once and in order, both ways"},
		{name: "everything is written in single bytes", farm: three, do: byteByByte, again: true,
			holds: "each call is answered"},
		{name: "WebSocket frames break RFC 6455 in every way", farm: three, do: breakFrames, again: true,
			holds: "whoever does loses the connection"},
		{name: "records break the hub protocol in every way", farm: three, do: breakRecords, again: true,
			holds: "they are answered, or the connection ends, as the tables say"},
		{name: "conversations end at each of their bytes", farm: three, do: truncate, again: true,
			holds: "nothing else"},
		{name: "2,000 conversations are changed at random", farm: three, do: mutate, again: true,
			holds: "nothing else"},
		{name: "messages and bodies are larger than may be", farm: three, do: sendTooMuch, again: true,
			holds: "they are refused, and the connection ends"},
		{name: "polls are doubled", farm: three, do: doublePolls, again: true,
			holds: "over all polls everything comes once"},
		{name: "6,000 connections are negotiated that nobody opens", farm: three, do: floodNegotiations, again: true,
			holds: "they are forgotten"},
		{name: "streams are cut, or cancelled", farm: three, do: cutStreams, again: true,
			holds: "items come without a gap"},
		{name: "uploads are cut, or fail", farm: three, do: cutUploads, again: true,
			holds: "those that end are summed up"},
		{name: "questions to clients are abandoned on either side", farm: three, do: abandonQuestions, again: true,
			holds: "each question of those who stay has an outcome"},
		{name: "24 clients join and leave groups, by themselves and by others", farm: three, do: groupStorm, again: true,
			holds: "each gets exactly what is sent to the groups it is in"},
		{name: "Redis is killed, and started again", farm: three, do: restartRedis, again: true,
			holds: "the outage is noticed"},
		{name: "Redis is killed again and again before all is well", farm: three, do: flickerRedis, again: true,
			holds: "nothing else"},
		{name: "Redis stands still for 5 s", farm: three, do: freezeRedis, again: true,
			holds: "nothing else"},
		{name: "Redis is slow", farm: three, do: slowRedis, again: true,
			holds: "nothing else"},
		{name: "Redis is full", farm: three, do: fillRedis, again: true,
			holds: "nothing else"},
		{name: "Redis drops subscribers, for whom too much waits", farm: three, do: overflowRedis, again: true,
			holds: "nothing else"},
		{name: "Redis drops clients on command", farm: three, do: killRedisClients, again: true,
			holds: "nothing else"},
		{name: "Redis answers nobody on command", farm: three, do: pauseRedisClients, again: true,
			holds: "nothing else"},
		{name: "Redis forgets all", farm: three, do: flushRedis, again: true,
			holds: "nothing else"},
		{name: "Redis takes away the right to publish, and gives it back", farm: three, do: denyPublishing, again: true,
			holds: "nothing else"},
		{name: "Redis takes away the right to the channels, and gives it back", farm: three, do: denyChannels, again: true,
			holds: "what it refuses meanwhile is lost, as the log says; nothing is doubled or out of order"},
		{name: "connections to Redis are cut at random", farm: three, do: cutRedis, again: true,
			holds: "nothing else"},
		{name: "the network between one server and Redis loses everything", farm: three, do: silenceRedis, again: true,
			holds: "the outage is noticed"},
		{name: "Sentinel: the master is killed", farm: behindSentinels, do: failOver,
			holds: "the replica takes over"},
		{name: "a server is killed", farm: three, do: killServer, again: true,
			holds: "what others had of it has no gap"},
		{name: "servers are killed again and again", farm: three, do: crash, again: true,
			holds: "likewise"},
		{name: "a server stands still for 5 s", farm: three, do: standStill, again: true,
			holds: "nobody loses a connection"},
		{name: "servers stand still for moments", farm: three, do: shortStops, again: true,
			holds: "likewise"},
		{name: "each server is ended and started again, one after the other", farm: three, do: roll, again: true,
			holds: "all that it was done with arrives"},
		{name: "a server is drained under load", farm: threeDraining, do: drain, alone: true,
			holds: "no call fails; notifications come without a gap to each connection, from its start on"},
		{name: "workers publish garbage, forgeries and what was published before", farm: twoSigned, do: forge,
			holds: "good notifications come once and in order, and nothing else"},
		{name: "clocks jump by an hour", farm: twoJumping, do: jumpClocks,
			holds: "that is no outage; a clock that is right again takes signed notifications"},
		{name: "clocks jump by an hour while Redis stands still", farm: twoJumping, do: jumpInOutage,
			holds: "the outage is noticed"},
	}
}

func TestScenarios(t *testing.T) {
	t.Logf("run it again with -seed %d", *seedFlag)
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			if !s.alone {
				t.Parallel()
			}
			f := s.farm(t)
			s.happen(t, f, chance(s.name))
			f.expectIdle()
		})
	}
}

// chance is that of one scenario, so that it is the same when it runs alone.
func chance(name string) *rand.Rand {
	hash := fnv.New64a()
	fmt.Fprint(hash, name)
	return rand.New(rand.NewPCG(*seedFlag, hash.Sum64()))
}

// happen has the scenario happen to a farm, with traffic.
func (s *scenario) happen(t *testing.T, f *farm, chance *rand.Rand) {
	t.Helper()
	r := &run{T: t, farm: f, rand: chance, traffic: f.begin()}
	began := time.Now()
	s.do(r)
	took := time.Since(began)
	r.traffic.awaitFlow()
	time.Sleep(someTime)
	r.traffic.settle()
	r.traffic.end()
	t.Logf("it took %.1f s; %d messages of the traffic were delivered meanwhile", took.Seconds(), r.traffic.delivered())
	if t.Failed() {
		t.Logf("run it again with -seed %d", *seedFlag)
	}
}

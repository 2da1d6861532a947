package chat_test

import (
	"testing"

	"go.uber.org/goleak"

	"signalrd/hubs/chat"
	"signalrd/hubs/hubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Two people who talk, one without a name.
func TestChat(t *testing.T) {
	server := hubtest.NewServer(t, chat.New, nil)
	ale := hubtest.Connect(t, server, hubtest.As("Ale"))
	anonymous := hubtest.Connect(t, server)

	ale.Invoke("SendMessage", "hi")
	anonymous.Invoke("SendMessage", "hello")
	for _, c := range []*hubtest.Client{ale, anonymous} {
		c.Expect("ReceiveMessage", "Ale", "hi")
		c.Expect("ReceiveMessage", "Anonymous", "hello")
	}
	if got := hubtest.Invoke[string](ale, "Echo", "hi"); got != "hi" {
		t.Errorf("the echo of hi is %s", got)
	}
	anonymous.ExpectNothing()
}

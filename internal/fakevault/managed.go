package fakevault

// Identity is a managed identity of the machine.
type Identity struct {
	ClientID   string
	ObjectID   string
	ResourceID string // empty: system-assigned
}

func (c *call) imds() *reply       { return textReply(404, "") }
func (c *call) appService() *reply { return textReply(404, "") }
func (c *call) arc() *reply        { return textReply(404, "") }

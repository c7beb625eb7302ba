package fakevault

import (
	"strings"
	"time"
)

// Deletion is soft, and slow: the deleted key shows after a while, and recovery and purging take their time as well
// (Options.DeleteLag).

type deletedBundle struct {
	RecoveryID         string `json:"recoveryId"`
	DeletedDate        int64  `json:"deletedDate"`
	ScheduledPurgeDate int64  `json:"scheduledPurgeDate"`
	keyBundle
}

func (s *Server) deletedBundle(k *key) deletedBundle {
	return deletedBundle{
		RecoveryID:         s.VaultURL() + "/deletedkeys/" + k.name,
		DeletedDate:        k.at,
		ScheduledPurgeDate: k.at + int64(s.opts.RecoverableDays)*24*60*60,
		keyBundle:          s.bundle(k.name, k.version("")),
	}
}

// settling tells whether the last deletion, recovery or purge of the key does not show yet.
func (s *Server) settling(k *key) bool {
	return s.opts.DeleteLag > 0 && time.Since(k.changed) < s.opts.DeleteLag
}

func (c *call) remove() (any, *fail) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	k, err := c.lookup()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	k.deleted, k.changed, k.at = true, now, now.Unix()
	return c.s.deletedBundle(k), nil
}

// lookupDeleted finds a deleted key, or gives the error for its state. It must be called with the lock.
func (c *call) lookupDeleted() (*key, *fail) {
	k := c.s.keys[strings.ToLower(c.name)]
	if k == nil || !k.deleted {
		return nil, c.deletedKeyNotFound()
	}
	if c.s.settling(k) {
		if c.op == OpGetDeleted {
			return nil, c.deletedKeyNotFound()
		}
		return nil, beingDeleted()
	}
	return k, nil
}

func (c *call) getDeleted() (any, *fail) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	k, err := c.lookupDeleted()
	if err != nil {
		return nil, err
	}
	return c.s.deletedBundle(k), nil
}

func (c *call) recover() (any, *fail) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	k, err := c.lookupDeleted()
	if err != nil {
		return nil, err
	}
	k.deleted, k.changed = false, time.Now()
	return c.s.bundle(k.name, k.version("")), nil
}

// purge answers 204 without a body: no value.
func (c *call) purge() (any, *fail) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	k, err := c.lookupDeleted()
	if err != nil {
		return nil, err
	}
	k.deleted, k.purged, k.changed = false, true, time.Now()
	if c.s.opts.DeleteLag <= 0 {
		delete(c.s.keys, strings.ToLower(k.name))
	}
	return nil, nil
}

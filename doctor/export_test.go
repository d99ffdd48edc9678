package doctor

import "context"

// SearchClones is a search with limits of a test's own.
func (h *Host) SearchClones(ctx context.Context, limit int) []Clone {
	return h.searchClones(ctx, limit)
}

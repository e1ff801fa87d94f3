package fault

import (
	"context"
	"errors"
	"fmt"

	inject "github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faultadmin"
)

// checkPoints looks whether each rule can strike a point of its service. Of a service that does not say what points it
// has, the rows say why.
func (r *runner) checkPoints(ctx context.Context) error {
	points, asked := map[string][]inject.PointStatus{}, map[string]bool{}
	var faults []error
	for i := range r.plan.Faults {
		f := &r.plan.Faults[i]
		if f.Rule == nil {
			continue
		}
		if !asked[f.Service] {
			asked[f.Service] = true
			if status, err := r.watchers[f.Service].admin.faults(ctx); err == nil {
				points[f.Service] = append([]inject.PointStatus{}, status.Points...)
			}
		}
		if points[f.Service] == nil {
			continue
		}
		if why := faultadmin.Unreached(inject.Rule(*f.Rule), points[f.Service]); why != "" {
			faults = append(faults, fmt.Errorf("faults[%d].rule.point: %s would strike nothing in %s: %s", i, f.Name, f.Service, why))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w:\n%w", ErrPlan, errors.Join(faults...))
	}
	return nil
}

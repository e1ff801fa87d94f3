package inference

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/kit/limit"
)

func TestAdmissionKnowsTheTenantAndBelievesOnlyTheHeaderThatItIsTold(t *testing.T) {
	cfg := DefaultConfig()
	s, err := New(cfg, Deps{Models: models.Repository, Decode: decode, Tenant: func(_ context.Context, remote string) string { return remote }})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/v1/predict", nil)
	r.RemoteAddr = "acme"
	r.Header.Set("X-Priority", "critical")
	if got := admissionOf(s, r); got.Tenant != "acme" || got.Priority != limit.Normal {
		t.Errorf("%+v", got)
	}
	s.cfg.PriorityHeader = "X-Priority"
	if got := admissionOf(s, r); got.Priority != limit.Critical {
		t.Errorf("%+v", got)
	}
	r.Header.Set("X-Priority", "nonsense")
	if got := admissionOf(s, r); got.Priority != limit.Normal {
		t.Errorf("%+v", got)
	}
}

func TestTenantCannotTakeMoreArrivingPlacesThanItsShare(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Arriving, cfg.TenantShare = 4, 0.5
	s, err := New(cfg, Deps{Models: models.Repository, Decode: decode, Tenant: func(_ context.Context, remote string) string { return remote }})
	if err != nil {
		t.Fatal(err)
	}
	arrive := func(who string) error {
		r := httptest.NewRequest("POST", "/v1/predict", nil)
		r.RemoteAddr = who
		_, err := s.limiter.AdmitFor(admissionOf(s, r))
		return err
	}
	for range 2 {
		if err := arrive("slow"); err != nil {
			t.Fatal(err)
		}
	}
	if err := arrive("slow"); err == nil {
		t.Error("a tenant has three of four places, its share is half")
	}
	if err := arrive("other"); err != nil {
		t.Error("another tenant pays for it:", err)
	}
}

func TestAdaptiveLimitIsCheckedAndUsed(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Adaptive = &limit.Adaptive{Min: 4, Max: 2, Tolerance: 0}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "adaptive.max") || !strings.Contains(err.Error(), "adaptive.tolerance") {
		t.Error(err)
	}
	cfg.Adaptive = &limit.Adaptive{Min: 2, Max: 8, Tolerance: 0.25}
	s, h, _ := serve(t, cfg, models.Repository)
	for range 100 {
		if w := post(h, `{"model":"loan-mini","input":[0.1,0.9]}`); w.Code != 200 {
			t.Fatal(w.Body)
		}
	}
	if slots := s.Status().Slots; slots < 2 || slots > 8 {
		t.Errorf("%d slots", slots)
	}
}

func admissionOf(s *Service, r *http.Request) limit.Request {
	c := s.callerOf(r)
	return c.admission()
}

package product

import (
	"fmt"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// writeFaults makes the ConfigMap of rules that testdata/short-grace mounts, in the namespace, which it makes. Each rule is
// what follows its id and its end.
func writeFaults(t *testing.T, c *cluster.Cluster, rules ...string) {
	t.Helper()
	clean(t, c)
	kubectl(t, c, "create", "namespace", namespace)
	list, expires := "", time.Now().Add(50*time.Minute).UTC().Format(time.RFC3339)
	for i, rule := range rules {
		list += fmt.Sprintf(`{"id":"rule%d","expires":%q,%s},`, i, expires, rule)
	}
	document := fmt.Sprintf(`{"version":1,"rules":[%s]}`, list[:len(list)-1])
	_, err := c.Client().CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "faults"}, Data: map[string]string{"faults.json": document}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// slowPredictions is a rule by which predictions take 50 to 3,000 ms.
const slowPredictions = `"point":"http.request","where":{"route":"POST /v1/predict"},"delay":{"fixed":"1525ms","jitter":"1475ms","min":"50ms","max":"3s"}`

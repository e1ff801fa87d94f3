package cluster

import (
	"encoding/json"
	"fmt"
)

// writeKubeconfig writes a client's configuration. Its server is 127.0.0.1 at the one port, which is the API server
// itself within the cluster's network namespace, and leads there from outside it.
func writeKubeconfig(path string, port int, ca, cert, key []byte) error {
	const name = "dougong"
	return writeJSON(path, map[string]any{
		"apiVersion": "v1",
		"kind":       "Config",
		"clusters": []any{map[string]any{"name": name, "cluster": map[string]any{
			"server": fmt.Sprintf("https://127.0.0.1:%d", port), "certificate-authority-data": ca,
		}}},
		"users": []any{map[string]any{"name": name, "user": map[string]any{
			"client-certificate-data": cert, "client-key-data": key,
		}}},
		"contexts":        []any{map[string]any{"name": name, "context": map[string]any{"cluster": name, "user": name}}},
		"current-context": name,
	})
}

// writeJSON writes a configuration: JSON is YAML, too.
func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return write(path, append(data, '\n'))
}

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
)

func newToken() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Bearer tokens", Args: args(cobra.NoArgs), RunE: help}
	var request app.TokenRequest
	create := &cobra.Command{
		Use:   "create --file FILE --name NAME --role ROLE…",
		Short: "Make a bearer token, add its hash to a file and print the token once",
		Long: "Makes a bearer token, adds its hash to FILE (http.tokens_file, admin.tokens_file) and prints the token. The token\n" +
			"itself is stored nowhere: keep what is printed. Roles: read, write, fault, release.",
		Example: "  dougong token create --file tokens.json --name checkout --tenant shop --role read",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if request.File == "" || request.Name == "" || len(request.Roles) == 0 {
				return usageError{errors.New("--file, --name and --role are needed\nrun 'dougong token create --help' for what they are")}
			}
			token, err := app.CreateToken(request)
			if err != nil {
				return usageError{err}
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "added to %s; this is the only time that the token is shown:\n", request.File)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	flags := create.Flags()
	flags.StringVar(&request.File, "file", "", "the file, made if it is not there")
	flags.StringVar(&request.Name, "name", "", "who the token is for; logs and audit lines show it")
	flags.StringVar(&request.Tenant, "tenant", "", "the tenant on whose account it counts")
	flags.StringSliceVar(&request.Roles, "role", nil, "what it may do: read, write, fault, release (repeat or separate by commas)")
	cmd.AddCommand(create)
	return cmd
}

package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"watertight/gate"
)

func newUser() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Say who may use the proxy",
		Long: "Keeps the file that `users` of a listener names: a user and the argon2id hash of a password on each line. The file is\n" +
			"for its owner alone (mode 0600) and read again by `watertight reload`.\n\n" +
			"A client gives the user's name as it stands there, or with labels behind it, by which it is told apart from others of the\n" +
			"same user: alice-session-k3v9, alice-country-us-session-2. The labels are session, country, state, city and ttl.\n\n" +
			"A password is asked for at the terminal, or read from standard input; it is never an argument, which others could see.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUserAdd(), newUserPasswd(), newUserRemove(), newUserList(), newUserToken())
	return cmd
}

// fileAndUser takes two arguments: FILE and NAME.
func fileAndUser(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return usageError{fmt.Errorf("give the file and the user: %s", cmd.UseLine())}
	}
	return nil
}

func newUserAdd() *cobra.Command {
	return &cobra.Command{
		Use:   "add FILE NAME",
		Short: "Add a user to the file, which is made if it is missing",
		Args:  fileAndUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return setPassword(cmd, args[0], args[1], true)
		},
	}
}

func newUserPasswd() *cobra.Command {
	return &cobra.Command{
		Use:   "passwd FILE NAME",
		Short: "Give a user another password, which ends the user's tokens",
		Args:  fileAndUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return setPassword(cmd, args[0], args[1], false)
		},
	}
}

func setPassword(cmd *cobra.Command, file, user string, isNew bool) error {
	if err := gate.CheckUser(user); err != nil {
		return usageError{err}
	}
	_, users, err := gate.ReadUsersFile(file)
	switch {
	case err != nil && (!isNew || !errors.Is(err, fs.ErrNotExist)):
		return toldOf(file, user, err)
	case isNew && users != nil && users.Has(user):
		return toldOf(file, user, gate.ErrUserExists)
	case !isNew && (users == nil || !users.Has(user)):
		return toldOf(file, user, gate.ErrStranger)
	}
	password, err := readPassword(cmd)
	if err != nil {
		return err
	}
	line, err := gate.NewLine(user, password)
	if err != nil {
		return usageError{err}
	}
	return toldOf(file, user, gate.ChangeFile(file, gate.Change{User: user, Line: line, New: isNew}))
}

// toldOf says of which file and user something is not so, and what to do about it.
func toldOf(file, user string, err error) error {
	switch {
	case errors.Is(err, gate.ErrUserExists):
		return fmt.Errorf("%s: the user %s stands in the file already\n`watertight user passwd %[1]s %[2]s` gives another password", file, user)
	case errors.Is(err, gate.ErrStranger):
		return fmt.Errorf("%s: there is no user %s in the file\n`watertight user list %[1]s` shows them, and `watertight user add %[1]s %[2]s` adds one", file, user)
	case errors.Is(err, fs.ErrNotExist):
		if _, dirErr := os.Stat(filepath.Dir(file)); dirErr != nil {
			return fmt.Errorf("%s: there is no directory %s\nmake it, or name a file elsewhere", file, filepath.Dir(file))
		}
		return fmt.Errorf("%s does not exist\n`watertight user add %[1]s NAME` makes it", file)
	}
	return err
}

func newUserRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove FILE NAME",
		Short: "Remove a user, which ends the user's tokens",
		Args:  fileAndUser,
		RunE: func(_ *cobra.Command, args []string) error {
			return toldOf(args[0], args[1], gate.ChangeFile(args[0], gate.Change{User: args[1]}))
		},
	}
}

func newUserList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list FILE",
		Short: "List the users of the file",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("give the file: %s", cmd.UseLine())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			_, users, err := gate.ReadUsersFile(args[0])
			if err != nil {
				return toldOf(args[0], "", err)
			}
			names := []string{}
			if users != nil {
				names = users.Names()
			}
			if asJSON {
				return printJSON(cmd, struct {
					Users []string `json:"users"`
				}{names})
			}
			for _, n := range names {
				fmt.Fprintln(cmd.OutOrStdout(), n)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newUserToken() *cobra.Command {
	var key string
	var good time.Duration
	cmd := &cobra.Command{
		Use:   "token FILE NAME --key FILE [--for TIME]",
		Short: "Make a token, which a client gives in place of the user's password until it expires",
		Long: "Makes a token for a user of the file and prints it. It is signed with the key that `token_key` of the listener names; a\n" +
			"key that is missing is made. A client gives it as the password. It ends with its time, with the user, and with the user's\n" +
			"password; all end with the key. A tunnel that is open stays open.",
		Args: fileAndUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case key == "":
				return usageError{errors.New("give the key's file: --key FILE")}
			case good < time.Second || good > gate.MaxTokenTime:
				return usageError{fmt.Errorf("--for is a time from 1s to %v, such as 1h", gate.MaxTokenTime)}
			}
			_, users, err := gate.ReadUsersFile(args[0])
			if err == nil && (users == nil || !users.Has(args[1])) {
				err = gate.ErrStranger
			}
			if err != nil {
				return toldOf(args[0], args[1], err)
			}
			secret, err := tokenKey(cmd, key)
			if err != nil {
				return err
			}
			token, err := users.Token(secret, args[1], time.Now().Add(good))
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), token)
			return nil
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the `FILE` with the key that signs")
	cmd.Flags().DurationVar(&good, "for", time.Hour, "for how long it is good: a `TIME` such as 30m or 24h")
	return cmd
}

// tokenKey reads the key that signs, or makes it.
func tokenKey(cmd *cobra.Command, path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		secret := make([]byte, gate.MinKey)
		_, _ = rand.Read(secret) // it never fails
		if err := gate.NewSecret(path, secret); errors.Is(err, fs.ErrExist) {
			return os.ReadFile(path) // another command made it in between
		} else if err != nil {
			return nil, err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "the key %s was made: name it as `token_key` of the listener, and reload\n", path)
		return secret, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > gate.MaxKey:
		return nil, gate.ErrKey
	}
	return os.ReadFile(path)
}

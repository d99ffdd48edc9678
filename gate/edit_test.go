package gate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestChangeFile_SeveralAtOnceAreAllMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	line, err := NewLine("first", "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	if err := ChangeFile(file, Change{User: "first", Line: line, New: true}); err != nil {
		t.Fatal(err)
	}
	const many = 40
	hash := line[len("first"):]
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			user := fmt.Sprintf("user-%d", i)
			if err := ChangeFile(file, Change{User: user, Line: user + hash, New: true}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	_, users, err := ReadUsersFile(file)
	if err != nil || len(users.Names()) != many+1 {
		t.Errorf("%v, %v", users.Names(), err)
	}
	for i := range many {
		all.Go(func() {
			if err := ChangeFile(file, Change{User: fmt.Sprintf("user-%d", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if _, users, err := ReadUsersFile(file); err != nil || len(users.Names()) != 1 {
		t.Errorf("%v, %v", users.Names(), err)
	}
	if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) != 1 {
		t.Errorf("something is left beside the file: %v, %v", list, err)
	}
}

func TestNewSecret_IsMadeByOneAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	made := make(chan string, 20)
	var all sync.WaitGroup
	for i := range cap(made) {
		all.Go(func() {
			secret := fmt.Sprintf("secret %d", i)
			switch err := NewSecret(file, []byte(secret)); {
			case err == nil:
				made <- secret
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(made) != 1 {
		t.Fatalf("%d made it", len(made))
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != <-made {
		t.Errorf("%q, %v", text, err)
	}
}

// Moves money with a client that was generated from the service's own description.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"os"

	"ledger-example/ledger"
)

//go:generate go tool oapi-codegen -generate types,client -package ledger -o ledger/client.gen.go $LEDGER_URL/openapi.json

func main() {
	ctx := context.Background()
	client := logIn(ctx, os.Getenv("LEDGER_URL"), os.Getenv("LEDGER_USERNAME"), os.Getenv("LEDGER_PASSWORD"))

	run := rand.Text()[:8] // user names are unique, so each run of this program has its own
	alice := createUser(ctx, client, "alice-"+run)
	bob := createUser(ctx, client, "bob-"+run)
	source := openAccount(ctx, client, alice, 10_000)
	destination := openAccount(ctx, client, bob, 5_000)

	// With an Idempotency-Key, a request can be repeated after a time-out: the money moves once.
	payment := ledger.CreateTransferRequest{
		SourceAccountId:      ledger.AccountRef(source.Id.String()), // or the code of the account
		DestinationAccountId: ledger.AccountRef(destination.Id.String()),
		AmountCents:          2_500,
		Description:          to("rent, May"),
	}
	withKey := &ledger.CreateTransferParams{IdempotencyKey: to("rent-" + run)}
	made := must(client.CreateTransferWithResponse(ctx, withKey, payment))
	repeated := must(client.CreateTransferWithResponse(ctx, withKey, payment))
	first, second := expect(made.JSON200, made.Body), expect(repeated.JSON200, repeated.Body)
	times := "twice"
	if first.Id == second.Id {
		times = "once"
	}
	fmt.Printf("transferred %d %s, %s\n", first.AmountCents, first.Currency, times)

	// A transaction is one of several types, which its kind tells apart.
	found := must(client.GetTransactionWithResponse(ctx, first.Id, nil))
	switch transaction := must(expect(found.JSON200, found.Body).ValueByDiscriminator()).(type) {
	case ledger.Transfer:
		fmt.Printf("read a %s: %s\n", transaction.Kind, *transaction.Description)
	default:
		log.Fatalf("unexpected transaction: %v", transaction)
	}

	line := []any{"balances:"}
	for _, user := range []*ledger.User{alice, bob} {
		listed := must(client.ListAccountsWithResponse(ctx, &ledger.ListAccountsParams{UserId: &user.Id}))
		for _, account := range *expect(listed.JSON200, listed.Body) {
			line = append(line, account.BalanceCents)
		}
	}
	fmt.Println(line...)

	listed := must(client.ListTransactionsWithResponse(ctx, &ledger.ListTransactionsParams{
		AccountId: to(ledger.AccountRef(source.Id.String())),
		Kind:      to(ledger.TransactionKindTransfer),
		Limit:     to(10),
	}))
	fmt.Println("transfers of the account:", len(*expect(listed.JSON200, listed.Body)))

	// An error is a problem (RFC 9457), whose codes are stable.
	payment.AmountCents = 1_000_000
	refused := must(client.CreateTransferWithResponse(ctx, nil, payment))
	for _, reason := range expect(refused.ApplicationproblemJSON422, refused.Body).Errors {
		fmt.Println("refused:", reason.Code)
	}
}

func logIn(ctx context.Context, url, username, password string) *ledger.ClientWithResponses {
	nobody := must(ledger.NewClientWithResponses(url))
	response := must(nobody.LogInWithResponse(ctx, ledger.LogInRequest{Username: &username, Password: &password}))
	tokens := expect(response.JSON200, response.Body)
	return must(ledger.NewClientWithResponses(url, ledger.WithRequestEditorFn(
		func(_ context.Context, request *http.Request) error {
			request.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
			return nil
		})))
}

func createUser(ctx context.Context, client *ledger.ClientWithResponses, name string) *ledger.User {
	response := must(client.CreateUserWithResponse(ctx, nil, ledger.CreateUserRequest{
		Username: name,
		Email:    name + "@example.com",
		Password: to("correct horse battery"),
		Roles:    to("customer"),
	}))
	return expect(response.JSON201, response.Body)
}

func openAccount(
	ctx context.Context, client *ledger.ClientWithResponses, owner *ledger.User, cents int64,
) *ledger.Account {
	response := must(client.OpenAccountWithResponse(ctx, nil, ledger.OpenAccountRequest{
		UserId:       owner.Id,
		BalanceCents: &cents,
		Currency:     to("USD"),
	}))
	return expect(response.JSON201, response.Body)
}

// to returns a pointer to a value, as members need that may be left out.
func to[T any](value T) *T { return &value }

// must returns a value, or stops with the error that came instead.
func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// expect returns the data of a response, or stops with the body that came instead.
func expect[T any](data *T, body []byte) *T {
	if data == nil {
		log.Fatalf("unexpected response: %s", body)
	}
	return data
}

// Package reviews lets requests through to whom the API server allows them: a request's bearer token is shown to the API
// server in a TokenReview, and whose it is may do what it asks for by a SubjectAccessReview.
//
//	request ─► token known and allowed within [fresh]? ─────────────────────────► let through
//	              │ no
//	              ▼
//	           ask the API server ──► yes: remembered, let through
//	              │       └─────────► no: 401 or 403, forgotten, and not asked again for [denied]
//	              ▼ it does not answer
//	           token allowed within [longest], and not expired? ───────────────► let through
//	              │ no
//	              ▼
//	           503
//
// So whoever scrapes metrics goes on doing so while the API server is away, which is when metrics matter most, and a token
// that is taken back is refused within a minute while it is there. Tokens are remembered as hashes, and no more than
// [most] of them.
package reviews

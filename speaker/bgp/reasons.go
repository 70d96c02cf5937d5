package bgp

// Reason is why a session is down, from a closed vocabulary; docs/reference/bgp-reasons.md explains each.
type Reason string

// Reasons before there is a connection.
const (
	// ConnectionRefused: the router's host answers, no BGP there does.
	ConnectionRefused Reason = "ConnectionRefused"
	// ConnectTimeout: nothing answers.
	ConnectTimeout Reason = "ConnectTimeout"
	// Unreachable: this node has no way to the address, or none answers for it on the link.
	Unreachable Reason = "Unreachable"
	// SourceUnavailable: the node lacks the source address, interface or device; or no sourceAddress is set, and the node has no address
	// of the peer's family to reach it from (IPv6 is off, for instance).
	SourceUnavailable Reason = "SourceUnavailable"
	// NoRouter: no router was found on the interface of an unnumbered session.
	NoRouter Reason = "NoRouter"
	// TTLTooLow: the router's packets come from farther away than ttlSecurity allows.
	TTLTooLow Reason = "TTLTooLow"
	// NotPermitted: the kernel does not let this process do what the session needs.
	NotPermitted Reason = "NotPermitted"
	// Misconfigured: the peer can't be as it is described.
	Misconfigured Reason = "Misconfigured"
	// NoPassword: the Secret with the password is missing, not of type kubernetes.io/basic-auth, or speakers may not read it.
	NoPassword Reason = "NoPassword"
)

// Reasons between connection and session.
const (
	// OpenTimeout: connected, and the router sent no OPEN or no KEEPALIVE.
	OpenTimeout Reason = "OpenTimeout"
	// WrongPeerASN: the router's ASN is not the one that is wanted.
	WrongPeerASN Reason = "WrongPeerASN"
	// OpenRefused: we refuse the router's OPEN.
	OpenRefused Reason = "OpenRefused"
	// NoCommonFamily: the router carries no family that we do.
	NoCommonFamily Reason = "NoCommonFamily"
	// RefusedASN: the router refuses our ASN.
	RefusedASN Reason = "RefusedASN"
	// RefusedOpen: the router refuses our OPEN.
	RefusedOpen Reason = "RefusedOpen"
)

// Reasons why a session ended.
const (
	// HoldTimeExpired: the router was silent for the hold time.
	HoldTimeExpired Reason = "HoldTimeExpired"
	// HoldTimeExpiredAtPeer: the router says that we were.
	HoldTimeExpiredAtPeer Reason = "HoldTimeExpiredAtPeer"
	// ConnectionClosed: the connection ended without a word.
	ConnectionClosed Reason = "ConnectionClosed"
	// PeerShutdown: the router's operator shut the session down.
	PeerShutdown Reason = "PeerShutdown"
	// PeerReset: the router's operator reset the session.
	PeerReset Reason = "PeerReset"
	// PeerDeconfigured: the router does not know us any more.
	PeerDeconfigured Reason = "PeerDeconfigured"
	// PeerConfigurationChanged: the router's configuration changed.
	PeerConfigurationChanged Reason = "PeerConfigurationChanged"
	// ConnectionRejected: the router wants no session with us, for now.
	ConnectionRejected Reason = "ConnectionRejected"
	// CollisionResolved: the router has another connection with us.
	CollisionResolved Reason = "CollisionResolved"
	// TooManyRoutes: the router accepts fewer routes than we sent.
	TooManyRoutes Reason = "TooManyRoutes"
	// PeerOutOfResources: the router lacks memory or the like.
	PeerOutOfResources Reason = "PeerOutOfResources"
	// PeerBFDDown: the router's BFD lost us.
	PeerBFDDown Reason = "PeerBFDDown"
	// PeerCeased: the router ended the session for another reason of RFC 4486.
	PeerCeased Reason = "PeerCeased"
	// PeerError: the router complains of what we sent.
	PeerError Reason = "PeerError"
	// InvalidMessage: the router sent something that is not BGP.
	InvalidMessage Reason = "InvalidMessage"
	// Held: something else, such as BFD, keeps the session down.
	Held Reason = "Held"
	// SettingsChanged: the session is made again with changed settings.
	SettingsChanged Reason = "SettingsChanged"
	// NotWatched: the BFD session that bfdProfile asks for can't be made, and with bfdMode Strict there is no BGP session without it.
	NotWatched Reason = "NotWatched"
	// Left: we left.
	Left Reason = "Left"
	// ChildDown: the process that the sessions live in ended.
	ChildDown Reason = "ChildDown"
	// Broken: a defect of ours ended the session.
	Broken Reason = "Broken"
)

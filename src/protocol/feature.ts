/**
 * The contract between the house and its rooms. A feature is a manifest: what it adds to OAuth's own registries. No
 * hooks, no events, no priorities: the order is that of src/features.ts, and two features that claim one key fail at
 * start.
 */
import type { z } from 'zod';
import type { MintedAccessToken } from './access-token.ts';
import type { Authorization } from './authorization.ts';
import type { AuthorizationRequest } from './authorization-request.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import type { Client, ClientMetadataCheck } from './client.ts';
import type { ConfirmationMethod, Possession } from './confirmation.ts';
import type { AccessTokenRecord, RefreshTokenRecord, StandingToken } from './ledger.ts';
import type {
  BrowserRequest,
  BrowserResponse,
  CookieChange,
  EndpointRequest,
  EndpointResponse,
  Parameters,
} from './message.ts';
import type { ReturnAddress } from './redirect-uri.ts';
import type { ReplayMark } from './replay.ts';
import type { EndedSignIn, Session, SignIn } from './session.ts';
import type { Target } from './target.ts';

export interface Feature {
  /** Its folder, its line in src/features.ts, its test. */
  readonly name: string;
  readonly grantTypes?: readonly GrantType[];
  readonly responseTypes?: readonly ResponseType[];
  readonly responseModes?: readonly ResponseMode[];
  readonly confirmationMethods?: readonly ConfirmationMethod[];
  readonly requestSources?: readonly RequestSource[];
  readonly responseParameters?: readonly ResponseParameter[];
  readonly clientAuthenticationMethods?: readonly ClientAuthenticationMethod[];
  readonly logoutChannels?: readonly LogoutChannel[];
  readonly endpoints?: readonly Endpoint[];
  /** Client metadata it reads, as a zod shape. */
  readonly clientMetadata?: z.ZodRawShape;
  /** What its fields demand of each other and of the core's. */
  readonly checkClientMetadata?: ClientMetadataCheck;
  /** Server metadata that does not follow from the registries (RFC 8414 §2): constant; lists that several name are joined. */
  readonly serverMetadata?: (server: AuthorizationServer) => Record<string, unknown>;
  /** Work that repeats by itself, on every node; each run must bear a second node doing the same. */
  readonly jobs?: readonly Job[];
}

/** A grant is two verbs: verify (reads only) and spend (the one atomic statement). RFC 6749 §4. */
export interface GrantType {
  readonly name: string;
  /** @throws OAuthError when the grant is not good; nothing has been changed then */
  verify(request: TokenRequest, server: AuthorizationServer): Promise<VerifiedGrant>;
}

/** A request of a client that has authenticated. */
export interface ClientRequest extends EndpointRequest {
  readonly client: Client;
  /** Single-use proofs it came with, to be claimed by whoever changes something; the edge does it elsewhere. */
  readonly marks: readonly ReplayMark[];
}

export interface TokenRequest extends ClientRequest {
  /** The key that what is minted will be bound to. */
  readonly possession: Possession | undefined;
}

export interface VerifiedGrant {
  readonly authorization: Authorization;
  /** What the token is for, where that is not narrowed out of the authorization (RFC 8693). */
  readonly target?: Target;
  /** Makes what is given in place of an access token of ours (a JWT authorization grant for another domain). */
  readonly mint?: () => Promise<MintedAccessToken>;
  /** Members of the answer that replace or join the usual ones (`issued_token_type`). */
  readonly answer?: Readonly<Record<string, unknown>>;
  /** Whether spending it gives a refresh token that does not exist yet. */
  readonly newRefreshToken: boolean;
  /**
   * Uses the grant up and records what was minted, all or nothing.
   * @returns the refresh token the client shall hold from now on, if that is not the newly minted one
   * @throws OAuthError when somebody else was faster
   */
  spend(minted: Minted): Promise<{ readonly refreshToken?: string | undefined }>;
}

/** What was made and must be stored by `spend`. */
export interface Minted {
  /** Claimed by the statement that spends, or by one before it: unless all are new, nothing is spent. */
  readonly marks: readonly ReplayMark[];
  /** Of an opaque access token. */
  readonly accessToken: AccessTokenRecord | undefined;
  /** The access token's id and end, of whichever form. */
  readonly jti: string;
  readonly expiresAt: Date;
  readonly refreshToken: (RefreshTokenRecord & { readonly value: string }) | undefined;
}

/** The parameters of a request out of what carried them. */
export interface CarriedParameters {
  readonly parameters: Parameters;
  /** The pushed request they were, to be used up when it is answered with a code (RFC 9126 §7.3). */
  readonly pushedRequestId?: string;
}

/** RFC 9101 §5: a parameter of the authorization request that carries the others in another form (`request`, `request_uri`). */
export interface RequestSource {
  /** The parameter's name. */
  readonly name: string;
  /**
   * The request it carries. What else stood beside it does not count any more (RFC 9101 §6.3).
   * @throws OAuthError when it is not good; it goes to the client if an address of it is proven, else it is shown
   */
  read(outer: Parameters, client: Client, now: Date, server: AuthorizationServer): Promise<CarriedParameters>;
}

/** A parameter of successful authorization responses that no response type owns (OAuth Parameters Registry). */
export interface ResponseParameter {
  readonly name: string;
  /** @returns its value, with cookies that go along, or `undefined` where it is not due */
  value(
    approved: ApprovedRequest,
    server: AuthorizationServer,
  ): { readonly value: string; readonly cookies?: readonly CookieChange[] } | undefined;
}

/** A way clients learn that a person has signed out: OpenID Connect Back-Channel and Front-Channel Logout 1.0. */
export interface LogoutChannel {
  readonly name: string;
  /**
   * Called when sign-ins have just ended, before the person goes on. Must not wait for anybody's answer.
   * @returns addresses of clients that this browser shall load for it
   */
  notify(ended: readonly EndedSignIn[], server: AuthorizationServer, now: Date): Promise<readonly string[]>;
}

/** RFC 6749 §3.1.1. */
export interface ResponseType {
  readonly name: string;
  /** Makes the response's own parameters from an approved request (and what they stand for in the store). */
  respond(approved: ApprovedRequest, server: AuthorizationServer): Promise<Record<string, string>>;
}

export interface ApprovedRequest {
  readonly request: AuthorizationRequest;
  readonly address: ReturnAddress;
  readonly signIn: SignIn;
  /** The browser's, with everybody who is signed in. */
  readonly session: Session;
  /** The pushed request this answers, if it was one. */
  readonly pushedRequestId: string | undefined;
  /** The pending authorization this completes, if there was one. */
  readonly pendingId: string | undefined;
  readonly now: Date;
}

/** OAuth 2.0 Multiple Response Types §2.1: how the response's parameters travel. */
export interface ResponseMode {
  readonly name: string;
  /** @param parameters of the response or error, with `state` and `iss` */
  send(
    address: ReturnAddress,
    parameters: Readonly<Record<string, string>>,
    now: Date,
    server: AuthorizationServer,
  ): Promise<BrowserResponse>;
}

/** RFC 6749 §2.3. Methods are asked in order whether the request uses them; exactly one must say yes. */
export interface ClientAuthenticationMethod {
  readonly name: string;
  /**
   * Puts nothing of its own into a request but `client_id`: where several such methods would do, the client's registration
   * says which one it is.
   */
  readonly implicit?: true;
  /** Takes the `Authorization` header. One that no method takes is refused, not ignored. */
  readonly usesHeader?: true;
  /** What a request of a client that is registered for it lacks, when the method is not used; for the log. */
  readonly absence?: string;
  /** The client the request claims to be by this method, or `undefined` when the method is not used. */
  claims(request: EndpointRequest): ClaimedClient | undefined;
}

export interface ClaimedClient {
  readonly clientId: string;
  /**
   * Whether the claim is proven. Called also for unknown clients (with `undefined`), and then does the same work.
   * @returns what of the proof may be used once only (mostly nothing), or `undefined` when it proves nothing
   */
  prove(client: Client | undefined, server: AuthorizationServer): Promise<readonly ReplayMark[] | undefined>;
}

interface EndpointBase {
  readonly path: string;
  readonly aliases?: readonly string[];
  /** Its name in the server metadata, e.g. `token_endpoint`. */
  readonly metadata?: string;
}

/** Called by clients, who authenticate (RFC 6749 §2.3). POST, form in, JSON out, never cached. */
export interface ClientEndpoint extends EndpointBase {
  readonly caller: 'client';
  /** Whether browser code of the client's own origins may call it. */
  readonly cors: boolean;
  /** Whether clients without credentials may call it. */
  readonly publicClients: boolean;
  /** Bytes of its body at most, where it needs more than others do. */
  readonly bodyLimit?: number;
  /** Whether `handle` claims the request's marks itself, with the statement it makes anyway. */
  readonly claimsMarks?: true;
  handle(request: ClientRequest, server: AuthorizationServer): Promise<EndpointResponse>;
}

/** Called with an access token addressed to us (RFC 6750). */
export interface BearerEndpoint extends EndpointBase {
  readonly caller: 'bearer';
  readonly scope: string;
  handle(request: EndpointRequest, token: StandingToken, server: AuthorizationServer): Promise<EndpointResponse>;
}

type BrowserVerb = (request: BrowserRequest, server: AuthorizationServer) => Promise<BrowserResponse>;

/** Visited by a person. A form sent here is checked for its origin; `checkForm` checks its token. */
export interface BrowserEndpoint extends EndpointBase {
  readonly caller: 'browser';
  readonly get?: BrowserVerb;
  readonly post?: BrowserVerb;
  /** Forms of other origins may be sent here: where clients send the browser by form (`/authorize`, `/logout`). */
  readonly crossOrigin?: boolean;
}

/** Public facts: GET, cacheable, for everybody and every origin. */
export interface PublicEndpoint extends EndpointBase {
  readonly caller: 'public';
  /** Seconds. */
  readonly maxAge: number;
  document(server: AuthorizationServer): Promise<unknown>;
}

export type Endpoint = ClientEndpoint | BearerEndpoint | BrowserEndpoint | PublicEndpoint;

export interface Job {
  readonly name: string;
  /** Seconds between runs. */
  readonly every: number;
  /** Whether it must have run once before the server is ready. */
  readonly atStart?: boolean;
  run(now: Date, server: AuthorizationServer): Promise<void>;
  /** Called once after its last run: waits for what runs have begun and left to itself. */
  finish?(): Promise<void>;
}

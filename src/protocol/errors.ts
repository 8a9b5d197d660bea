/**
 * The errors of OAuth and OpenID Connect: one table, wire code → HTTP status and the clause that names it.
 *
 * An {@link OAuthError} is the only error a client, a browser or an API may read about. {@link Unavailable} says that
 * what we stand on (the database, the hashing queue) is away for now. Everything else is a bug and is answered with
 * `server_error` and no detail; src/http/errors.ts is the one renderer.
 */
const TABLE = {
  // RFC 6749 §4.1.2.1, §5.2
  invalid_request: 400,
  invalid_client: 401,
  invalid_grant: 400,
  unauthorized_client: 400,
  unsupported_grant_type: 400,
  unsupported_response_type: 400,
  invalid_scope: 400,
  access_denied: 400,
  server_error: 500,
  temporarily_unavailable: 503,
  // RFC 6750 §3.1
  invalid_token: 401,
  insufficient_scope: 403,
  // RFC 9449 §5, §8
  invalid_dpop_proof: 400,
  use_dpop_nonce: 400,
  // RFC 9396 §5
  invalid_authorization_details: 400,
  // RFC 8707 §2
  invalid_target: 400,
  // OpenID Connect Core §3.1.2.6
  login_required: 400,
  consent_required: 400,
  interaction_required: 400,
  account_selection_required: 400,
  invalid_request_uri: 400,
  invalid_request_object: 400,
  request_not_supported: 400,
  request_uri_not_supported: 400,
  registration_not_supported: 400,
  // OpenID Connect Core Unmet Authentication Requirements §2
  unmet_authentication_requirements: 400,
  // RFC 7591 §3.2.2
  invalid_redirect_uri: 400,
  invalid_client_metadata: 400,
} as const;

export type ErrorCode = keyof typeof TABLE;

export interface OAuthErrorOptions {
  /** What went wrong inside; for the log, never for the wire. */
  cause?: unknown;
  /** More than the description says, for the log: what rule, never what value. */
  reason?: string;
  /** Only where HTTP knows a better status than the table (405, 413, 429). */
  status?: number;
  headers?: Readonly<Record<string, string>>;
}

/** A refusal in the words of the specification. */
export class OAuthError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Why, for the log. */
  readonly reason: string;

  /**
   * @param code the wire code, a key of the table
   * @param description the public `error_description`: ASCII without quotes and backslash (RFC 6749 §5.2), and never
   *   an echo of what the caller sent
   */
  constructor(code: ErrorCode, description: string, options: OAuthErrorOptions = {}) {
    super(description, { cause: options.cause });
    this.name = 'OAuthError';
    this.code = code;
    this.status = options.status ?? TABLE[code];
    this.headers = options.headers ?? {};
    this.reason = options.reason ?? description;
  }
}

/** What we stand on does not answer; the caller may try again. Rendered as 503 `temporarily_unavailable`. */
export class Unavailable extends Error {
  /** Seconds after which a retry makes sense. */
  readonly retryAfter: number;

  constructor(message: string, options: { cause?: unknown; retryAfter?: number } = {}) {
    super(message, { cause: options.cause });
    this.name = 'Unavailable';
    this.retryAfter = options.retryAfter ?? 2;
  }
}

/**
 * What a refused caller is told: RFC 6750 §3 (the Bearer challenge), RFC 9449 §7.1 (the DPoP one), RFC 9470 §3 (step-up) and
 * RFC 9728 §5.1 (`resource_metadata`, from which a client that knows only this API learns which authorization server to ask).
 *
 * Invariant: every text is fixed in this package or in the API's configuration. Nothing of the request is echoed, so a
 * response cannot be made to carry a caller's markup, header or token.
 */

/** A finished answer to a caller who is not let in: send status, headers and body as they are. */
export interface Refusal {
  /** 400 malformed, 401 no, bad or too weak a token or proof, 403 not enough granted, 503 nobody can tell now. */
  readonly status: 400 | 401 | 403 | 503;
  readonly headers: Readonly<Record<string, string>>;
  /** To be sent as JSON; `headers` say so. Absent where RFC 6750 §3.1 wants no error information: the caller just did not know a token was needed. */
  readonly body: { readonly error: string; readonly error_description: string } | undefined;
  /** Why, for the API's own log. Never part of the response. */
  readonly cause: unknown;
}

/** RFC 6750 §2.1 and RFC 9449 §7.1: how a token is presented. */
export type Scheme = 'Bearer' | 'DPoP';

/** Error codes and their status: RFC 6750 §3.1, RFC 9449 §7.1 and §9, RFC 9470 §3. */
const STATUS = {
  invalid_request: 400,
  invalid_token: 401,
  invalid_dpop_proof: 401,
  use_dpop_nonce: 401,
  insufficient_user_authentication: 401,
  insufficient_scope: 403,
} as const;

/** The request is not one this API answers. `message` is public: it names the rule that was broken, never the value. */
export class Fault extends Error {
  override readonly name: string = 'Fault';
  readonly code: keyof typeof STATUS;
  /** More for the challenge, e.g. `scope`. */
  readonly parameters: Readonly<Record<string, string>>;

  constructor(
    code: keyof typeof STATUS,
    message: string,
    { parameters = {}, cause }: { parameters?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.code = code;
    this.parameters = parameters;
  }
}

/** The token is not one this API accepts. */
export class InvalidToken extends Fault {
  override readonly name = 'InvalidToken';

  constructor(message: string, options: { cause?: unknown } = {}) {
    super('invalid_token', message, options);
  }
}

/** The DPoP proof is not one this API accepts. */
export class InvalidProof extends Fault {
  override readonly name = 'InvalidProof';

  constructor(message: string, options: { cause?: unknown } = {}) {
    super('invalid_dpop_proof', message, options);
  }
}

/** The authorization server, or the store of replay marks, gave no usable answer: nothing is known about the token. */
export class NoVerdict extends Error {
  override readonly name = 'NoVerdict';
}

/** The refusals of one resource, which its challenges name as their realm. */
export interface Refusals {
  /** No credentials, or a scheme that is not spoken here: every scheme that is, and no error (RFC 6750 §3.1). */
  missingToken(): Refusal;
  /** @param scheme that of the request */
  fault(scheme: Scheme, fault: Fault): Refusal;
  unavailable(fault: NoVerdict): Refusal;
}

/** Seconds after which a caller may try again. */
const RETRY_AFTER = '5';

const JSON_BODY = { 'content-type': 'application/json; charset=utf-8' };

/**
 * @param resource the identifier of the API, as tokens name it in `aud`
 * @param metadataUrl where its RFC 9728 document is
 * @param schemes those that are spoken here
 * @param proofAlgorithms what DPoP proofs may be signed with
 */
export function refusalsOf(
  resource: string,
  metadataUrl: string,
  schemes: readonly Scheme[],
  proofAlgorithms: readonly string[],
): Refusals {
  const challenge = (scheme: Scheme, attributes: Record<string, string> = {}) => {
    const algs = scheme === 'DPoP' ? { algs: proofAlgorithms.join(' ') } : {};
    const all = { realm: resource, ...attributes, ...algs, resource_metadata: metadataUrl };
    return `${scheme} ${Object.entries(all)
      .map(([name, value]) => `${name}="${value}"`)
      .join(', ')}`;
  };

  return {
    missingToken: () => ({
      status: 401,
      headers: { 'www-authenticate': schemes.map((scheme) => challenge(scheme)).join(', ') },
      body: undefined,
      cause: undefined,
    }),
    fault: (scheme, { code, message, parameters, cause }) => {
      const own = challenge(scheme, { error: code, error_description: message, ...parameters });
      // RFC 9449 §7.2: the token may just have been shown in the wrong scheme.
      const others = code === 'invalid_token' ? schemes.filter((other) => other !== scheme) : [];
      return {
        status: STATUS[code],
        headers: { ...JSON_BODY, 'www-authenticate': [own, ...others.map((other) => challenge(other))].join(', ') },
        body: { error: code, error_description: message },
        cause,
      };
    },
    // Not 401: the token may be perfect, and a client told otherwise would throw it away and send its user to sign in.
    unavailable: (fault) => ({
      status: 503,
      headers: { ...JSON_BODY, 'retry-after': RETRY_AFTER },
      body: {
        error: 'temporarily_unavailable',
        error_description: 'The access token cannot be checked at the moment',
      },
      cause: fault,
    }),
  };
}

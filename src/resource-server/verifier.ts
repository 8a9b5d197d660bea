/**
 * The judgement of one request to an API, RFC 6750 §2 and §3 as OAuth 2.1 §5 narrows them, RFC 9449 §7 and RFC 8705 §3: the
 * token comes in the Authorization header, once, and nowhere else.
 *
 * The order is: how the token was presented, the DPoP proof by itself (nothing is asked of anyone for a malformed request
 * or a bad proof), whether the token is good, whether it is the sender's, whether the proof is new, whether the token is
 * enough. The mark of a proof is set last of all that concerns it: a proof that was refused for anything else, such as a
 * missing nonce, is not used up.
 */
import { createHash } from 'node:crypto';
import type { AccessToken } from './access-token.ts';
import { keepText } from './checked-token.ts';
import { judgeConfirmation } from './confirmation.ts';
import { dpopNonces } from './dpop-nonce.ts';
import { dpopProofs, PROOF_LIFETIME, type Proof } from './dpop-proof.ts';
import { introspectedAccessTokens } from './introspection.ts';
import { jwtAccessTokens } from './jwt-access-token.ts';
import { type ResourceServerOptions, settingsOf } from './options.ts';
import type { PresentedRequest } from './presented-request.ts';
import { Fault, InvalidProof, InvalidToken, NoVerdict, type Refusal, refusalsOf, type Scheme } from './refusal.ts';
import { checkRequirements, judgeSufficiency, type Requirements } from './requirements.ts';
import { protectedResourceMetadata, protectedResourceMetadataUrl } from './resource-metadata.ts';

/** Either what the token says, or the answer to send instead of what was asked for. */
export type Verdict =
  | {
      readonly accepted: true;
      readonly accessToken: AccessToken;
      /** To be sent with whatever the API answers: the next DPoP nonce. */
      readonly headers: Readonly<Record<string, string>>;
    }
  | { readonly accepted: false; readonly refusal: Refusal };

export interface TokenVerifier {
  /**
   * @param request what the sender presents: `presentedRequest(request)` for one of Node.js
   * @param requirements what the token must cover; without any, every good token will do
   * @throws TypeError when the requirements cannot be right
   */
  verify(request: PresentedRequest, requirements?: Requirements): Promise<Verdict>;
  /** The RFC 9728 document, for the API to serve as JSON at `url`, to which challenges point. */
  readonly metadata: { readonly url: URL; readonly document: Readonly<Record<string, unknown>> };
}

/** A request whose sender has a good token. */
export interface Authenticated {
  readonly accessToken: AccessToken;
  readonly scheme: Scheme;
  readonly headers: Readonly<Record<string, string>>;
}

/** RFC 6750 §2.1: the scheme, in any case (RFC 9110 §11.1), and one token of these characters. */
const CREDENTIALS = /^(bearer|dpop) +([A-Za-z0-9\-._~+/]+=*) *$/i;

/** Far beyond any sane token; what is longer is not worth the hashing. */
const MAX_TOKEN_LENGTH = 8 * 1024;

/**
 * Prepares the check of access tokens for one API. Nothing is fetched until the first token comes.
 *
 * @throws TypeError when an option cannot be right, naming it
 */
export function createTokenVerifier(options: ResourceServerOptions): TokenVerifier {
  const { authenticate, authorize, metadata } = createJudge(options);
  return {
    metadata,
    async verify(request, requirements = {}) {
      checkRequirements(requirements);
      const sender = await authenticate(request);
      if ('refusal' in sender) return { accepted: false, refusal: sender.refusal };
      const refusal = authorize(sender, requirements);
      if (refusal) return { accepted: false, refusal };
      return { accepted: true, accessToken: sender.accessToken, headers: sender.headers };
    },
  };
}

/** The two halves of a verdict, for whoever asks for the second one more than once: a proof is good for one look. */
export interface Judge {
  authenticate(request: PresentedRequest): Promise<Authenticated | { readonly refusal: Refusal }>;
  authorize(sender: Authenticated, requirements: Requirements): Refusal | undefined;
  readonly metadata: TokenVerifier['metadata'];
}

/** @throws TypeError when an option cannot be right, naming it */
export function createJudge(options: ResourceServerOptions): Judge {
  const settings = settingsOf(options);
  const { resource, token: form, bindings, dpop } = settings;
  const schemes: readonly Scheme[] = [
    ...(bindings.some((binding) => binding !== 'dpop') ? (['Bearer'] as const) : []),
    ...(bindings.includes('dpop') ? (['DPoP'] as const) : []),
  ];
  const metadata = { url: protectedResourceMetadataUrl(resource), document: protectedResourceMetadata(settings) };
  const refuse = refusalsOf(resource, metadata.url.href, schemes, dpop.algorithms);
  const check = form.kind === 'jwt' ? jwtAccessTokens(settings) : introspectedAccessTokens(settings, form);
  const nonces = dpop.nonceKey && dpopNonces(dpop.nonceKey, resource);
  const checkProof = dpopProofs(new URL(resource).origin, dpop.algorithms, nonces);

  /** Whatever is answered to a client that speaks DPoP tells it the nonce of its next proof (RFC 9449 §8.2). */
  const headersFor = (scheme: Scheme): Record<string, string> =>
    nonces && scheme === 'DPoP' ? { 'dpop-nonce': nonces.current() } : {};

  function refusalOf(error: unknown, scheme: Scheme): Refusal {
    if (error instanceof NoVerdict) return refuse.unavailable(error);
    if (!(error instanceof Fault)) throw error;
    const refusal = refuse.fault(scheme, error);
    return { ...refusal, headers: { ...refusal.headers, ...headersFor(scheme) } };
  }

  async function authenticate(request: PresentedRequest): Promise<Authenticated | { readonly refusal: Refusal }> {
    const [credentials, ...more] = request.authorization;
    const scheme = schemes.find((name) => new RegExp(`^${name}( |$)`, 'i').test(credentials ?? ''));
    try {
      // Queries end up in logs, histories and Referer headers (RFC 9700 §4.3.2): such a token counts as leaked.
      if (queryOf(request.url).has('access_token')) {
        throw new Fault('invalid_request', 'Access tokens in the query are refused');
      }
      // Proxy and API could each choose another one of them.
      if (more.length > 0) throw new Fault('invalid_request', 'There is more than one Authorization header');
      if (credentials === undefined || scheme === undefined) return { refusal: refuse.missingToken() };
      const token = CREDENTIALS.exec(credentials)?.[2];
      if (token === undefined) throw new Fault('invalid_request', 'The Authorization header is malformed');
      if (token.length > MAX_TOKEN_LENGTH) throw new InvalidToken('The access token is too long');

      const proof = scheme === 'DPoP' ? await checkProof(request.dpop, { ...request, token }) : undefined;
      const accessToken = await check(token);
      const shown = { jkt: proof?.jkt, certificate: request.certificate };
      judgeConfirmation(accessToken.claims.cnf, shown, bindings);
      if (proof) await useUp(proof);
      keepText(accessToken, token);
      return { accessToken, scheme, headers: headersFor(scheme) };
    } catch (error) {
      return { refusal: refusalOf(error, scheme ?? schemes[0] ?? 'Bearer') };
    }
  }

  async function useUp({ jkt, jti }: Proof): Promise<void> {
    const mark = createHash('sha256').update(`${jkt} ${resource} ${jti}`).digest('base64url');
    let isNew: boolean;
    try {
      isNew = await dpop.replayMarks.claim(mark, PROOF_LIFETIME);
    } catch (cause) {
      throw new NoVerdict('Nobody can tell whether the DPoP proof was used before', { cause });
    }
    if (!isNew) throw new InvalidProof('The DPoP proof was used before');
  }

  function authorize({ accessToken, scheme }: Authenticated, requirements: Requirements): Refusal | undefined {
    try {
      judgeSufficiency(accessToken, requirements);
      return undefined;
    } catch (error) {
      return refusalOf(error, scheme);
    }
  }

  return { authenticate, authorize, metadata };
}

function queryOf(url: string): URLSearchParams {
  const start = url.indexOf('?');
  return new URLSearchParams(start === -1 ? '' : url.slice(start));
}

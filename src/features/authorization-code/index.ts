/**
 * The authorization code: response type `code`, response mode `query`, grant `authorization_code`.
 * RFC 6749 §4.1, OAuth 2.1 §4.1, RFC 7636; RFC 9700 §2.1.1, §4.5.
 *
 *   issued ──redeemed──▶ tokens          one statement; of many at once exactly one wins
 *      │        └── presented again, otherwise valid ──▶ its grant is revoked, with every token
 *      └──60 s──▶ expired
 *
 * Only a redemption that passes every check may change anything: a thief without the verifier or the client's
 * credentials can neither burn the code nor use the replay rule to have tokens revoked (OAuth 2.1 §7.5.2).
 */
import type { Authorization } from '../../protocol/authorization.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { ApprovedRequest, Feature, GrantType, Minted, ResponseType } from '../../protocol/feature.ts';
import { verifierMatches } from '../../protocol/pkce.ts';
import { withQuery } from '../../protocol/redirect-uri.ts';
import { claimMarks, marksOf, type ReplayMark } from '../../protocol/replay.ts';
import { type Credential, mintCredential, mintId, parseCredential } from '../../protocol/secrets.ts';

export interface NewCode {
  readonly code: Credential;
  readonly expiresAt: Date;
  readonly grantId: string;
  readonly grantExpiresAt: Date;
  /** The grant ends with the sign-in. */
  readonly sessionBound: boolean;
  readonly approved: ApprovedRequest;
}

export interface IssuedCode {
  readonly authorization: Omit<Authorization, 'client'>;
  readonly clientId: string;
  readonly redirectUri: string;
  readonly codeChallenge: string | undefined;
  /** The DPoP key the code is bound to (RFC 9449 §10). */
  readonly dpopJkt: string | undefined;
  readonly expiresAt: Date;
  readonly redeemed: boolean;
  /** Grant, consent, user and sign-in all stand. */
  readonly stands: boolean;
}

export interface Codes {
  /**
   * Makes grant and code and answers the pending authorization, all or nothing. One statement.
   * @returns `gone` when the pending authorization was answered before, or the user, sign-in or consent ended meanwhile
   */
  issue(code: NewCode, now: Date): Promise<'issued' | 'gone'>;
  find(code: Credential, now: Date): Promise<IssuedCode | undefined>;
  /**
   * Uses the code up and stores what was minted. One statement, two where somebody holds the code; `lost` stores nothing.
   * @returns the mark that was used before, when it failed for that
   */
  redeem(code: Credential, clientId: string, minted: Minted, now: Date): Promise<'redeemed' | 'lost' | ReplayMark>;
  /** Ends everything a code gave. */
  revokeReplayed(grantId: string, now: Date): Promise<void>;
}

export function authorizationCode({ codes }: { codes: Codes }): Feature {
  return {
    name: 'authorization-code',
    responseTypes: [codeResponse(codes)],
    responseModes: [
      {
        name: 'query',
        async send(address, parameters) {
          return { kind: 'redirect', location: withQuery(address.redirectUri, new URLSearchParams(parameters)) };
        },
      },
    ],
    grantTypes: [codeGrant(codes)],
    serverMetadata: () => ({ code_challenge_methods_supported: ['S256'] }), // RFC 8414 §2
  };
}

function codeResponse(codes: Codes): ResponseType {
  return {
    name: 'code',
    async respond(approved, server) {
      const { now, request } = approved;
      const { lifetimes } = server.profile;
      const code = mintCredential('authorization_code', now, server.context.random);
      const outcome = await codes.issue(
        {
          code,
          expiresAt: after(now, lifetimes.authorizationCode),
          grantId: mintId(now, server.context.random),
          grantExpiresAt: after(now, refreshLifetime(approved) ?? lifetimes.refreshTokenAbsolute),
          // Plain OAuth access outlives the session; an OpenID one only with offline_access (OpenID Connect Core §11).
          sessionBound: request.scope.includes('openid') && !request.scope.includes('offline_access'),
          approved,
        },
        now,
      );
      if (outcome === 'gone')
        throw new OAuthError('access_denied', 'The sign-in ended or this request was answered before.');
      return { code: code.value };
    },
  };
}

function refreshLifetime({ request }: ApprovedRequest): number | undefined {
  const { refresh_token_lifetime: lifetime } = request.client.metadata;
  return typeof lifetime === 'number' ? lifetime : undefined;
}

function codeGrant(codes: Codes): GrantType {
  return {
    name: 'authorization_code',
    async verify(request, server) {
      const { parameters, client, possession, now, trace } = request;
      const text = parameters.get('code');
      if (text === undefined) throw new OAuthError('invalid_request', 'code is required.');
      const credential = parseCredential('authorization_code', text);
      const code = credential && (await codes.find(credential, now));
      // RFC 6749 §4.1.3, §5.2. One answer for all: whoever guesses learns nothing.
      if (!credential || code?.clientId !== client.id) throw refused();
      const redirectUri = parameters.get('redirect_uri');
      if (redirectUri !== undefined && redirectUri !== code.redirectUri) throw refused();
      if (!verifierMatches(parameters.get('code_verifier'), code.codeChallenge)) {
        throw new OAuthError('invalid_grant', 'code_verifier does not match the code_challenge.');
      }
      if (code.dpopJkt !== undefined && possession?.cnf.jkt !== code.dpopJkt) {
        throw new OAuthError('invalid_grant', 'The code is bound to another DPoP key.');
      }
      const grantId = code.authorization.grantId ?? '';
      const replayed = async (): Promise<never> => {
        trace.event = 'code_replayed';
        await codes.revokeReplayed(grantId, now);
        throw refused();
      };
      if (code.redeemed) {
        // A request that was caught, and is sent again as it was, ends nothing: whoever sends it need hold no key.
        await claimMarks(marksOf(request), server.replayMarks);
        await replayed();
      }
      if (!code.stands || code.expiresAt <= now) throw refused();
      return {
        authorization: { ...code.authorization, client },
        newRefreshToken: client.grantTypes.includes('refresh_token'),
        async spend(minted) {
          const outcome = await codes.redeem(credential, client.id, minted, now);
          // Losing a race is a replay by somebody who has all it takes.
          if (outcome === 'lost') return replayed();
          if (outcome !== 'redeemed') throw outcome.refusal;
          return {};
        },
      };
    },
  };
}

function refused(): OAuthError {
  return new OAuthError('invalid_grant', 'The code is not valid, or not for this client and redirect_uri.');
}

function after(now: Date, seconds: number): Date {
  return new Date(now.getTime() + seconds * 1000);
}

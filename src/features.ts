/**
 * THE list: every capability one line, in the order its registrations are asked. Adding a feature is a folder and a line
 * here; deleting it is the same. Only here do rooms meet their SQL.
 */

import { postgresAccess } from './features/account/access.pg.ts';
import { account } from './features/account/index.ts';
import { postgresCodes } from './features/authorization-code/codes.pg.ts';
import { authorizationCode } from './features/authorization-code/index.ts';
import { authorizationEndpoint } from './features/authorization-endpoint/index.ts';
import { clientCredentials } from './features/client-credentials/index.ts';
import { clientSecret } from './features/client-secret/index.ts';
import { postgresConsents } from './features/consent/consents.pg.ts';
import { consent } from './features/consent/index.ts';
import { discovery } from './features/discovery/index.ts';
import { dpop } from './features/dpop/index.ts';
import { formPost } from './features/form-post/index.ts';
import { introspection } from './features/introspection/index.ts';
import { keyRotation } from './features/key-rotation/index.ts';
import { postgresSigningKeys } from './features/key-rotation/keys.pg.ts';
import { postgresAttempts } from './features/login/attempts.pg.ts';
import { login } from './features/login/index.ts';
import { logout } from './features/logout/index.ts';
import { type MutualTls, mtls } from './features/mtls/index.ts';
import { par } from './features/par/index.ts';
import { postgresPushedRequests } from './features/par/pushed-requests.pg.ts';
import { publicClient } from './features/public-client/index.ts';
import { refreshToken } from './features/refresh-token/index.ts';
import { postgresRefreshTokens } from './features/refresh-token/refresh-tokens.pg.ts';
import { revocation } from './features/revocation/index.ts';
import { tokenEndpoint } from './features/token-endpoint/index.ts';
import { userinfo } from './features/userinfo/index.ts';
import type { Sql } from './postgres/database.ts';
import type { Feature } from './protocol/feature.ts';
import type { KeyEncryption } from './protocol/key-encryption.ts';
import type { Profile } from './protocol/profile.ts';
import type { Passwords } from './protocol/secrets.ts';

/** What rooms are built from. */
export interface Parts {
  readonly database: Sql;
  readonly profile: Profile;
  readonly passwords: Passwords;
  readonly cookieKeys: readonly Buffer[];
  readonly encryption: KeyEncryption;
  readonly sessionManagement: boolean;
  readonly dpopNonce: boolean;
  readonly mutualTls: MutualTls | undefined;
  /** Tests only: requests to clients may go to this machine. */
  readonly allowLoopbackFetch: boolean;
}

export type FeatureLine = (parts: Parts) => Feature;

export const features: readonly FeatureLine[] = [
  () => clientSecret(), //                                                                      RFC 6749 §2.3.1
  () => publicClient(), //                                                                      OAuth 2.1 §2.1
  ({ mutualTls }) => mtls(mutualTls), //                                                        RFC 8705
  () => authorizationEndpoint(), //                                                             RFC 6749 §3.1
  () => tokenEndpoint(), //                                                                     RFC 6749 §3.2
  ({ database }) => authorizationCode({ codes: postgresCodes(database) }), //                   RFC 6749 §4.1, RFC 7636
  () => formPost(), //                                                                          OAuth 2.0 Form Post Response Mode
  ({ database }) => par({ pushedRequests: postgresPushedRequests(database) }), //                RFC 9126
  ({ database }) => refreshToken({ refreshTokens: postgresRefreshTokens(database) }), //        RFC 6749 §6
  () => clientCredentials(), //                                                                 RFC 6749 §4.4
  ({ dpopNonce }) => dpop({ demandsNonce: dpopNonce }), //                                      RFC 9449
  () => introspection(), //                                                                     RFC 7662
  () => revocation(), //                                                                        RFC 7009
  () => userinfo(), //                                                                          OpenID Connect Core §5.3
  () => discovery(), //                                                                         RFC 8414, RFC 7517
  ({ database, profile, encryption }) =>
    keyRotation({ keys: postgresSigningKeys(database), algs: profile.signingAlgs, encryption }), // OpenID Connect Core §10.1.1
  ({ database, passwords, cookieKeys }) => login({ attempts: postgresAttempts(database), passwords, cookieKeys }), // Core §3.1.2.3
  ({ database }) => consent({ consents: postgresConsents(database) }), //                       Core §3.1.2.4
  () => logout(), //                                                                            RP-Initiated Logout §2
  ({ database }) => account({ access: postgresAccess(database) }),
];

/** A person who is signed in and has agreed before comes to a client: /authorize, and the client redeems the code. */
import type { Setting, Target, Workload } from '../servers/target.ts';
import { codeFlow, signedInBrowsers } from './code-requests.ts';

export const codeFlowEs256: Workload = {
  name: 'code-flow',
  about: 'GET /authorize and POST /token: JWT access token, ID token (both ES256), refresh token',
  ceiling:
    'SELECT session, INSERT grant and code; SELECT code, UPDATE it and INSERT refresh token; two ES256 signatures',
  servers: ['gatehouse', 'oidc-provider', 'ceiling'],
  prepare(target, setting) {
    return prepared(target, this.name, setting, 'web');
  },
};

export const codeFlowRs256: Workload = {
  name: 'code-flow-rs256',
  about: 'the same with an ID token that is signed with RS256, the default of OpenID Connect',
  ceiling: 'the same with one RS256 signature (on the thread pool) and one ES256 signature',
  servers: ['gatehouse', 'oidc-provider', 'ceiling'],
  prepare(target, setting) {
    return prepared(target, this.name, setting, 'web-rs256');
  },
};

async function prepared(target: Target, workload: string, setting: Setting, client: string) {
  const browsers = await signedInBrowsers(target, workload, setting, { client });
  return (connection: number) => {
    const browser = browsers[connection];
    if (!browser) throw new Error('There are fewer browsers than connections.');
    return codeFlow(target, workload, setting, { client }, browser);
  };
}

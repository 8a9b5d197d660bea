/** What `gatehouse dev` says when it is ready: where it is, and a line to paste for each main flow. */
import type { Config } from '../config.ts';
import type { DemoSecrets } from '../operator/data-folder.ts';

/** @param demo `undefined` where there is no demo data */
export function banner(config: Config, demo: DemoSecrets | undefined): string {
  const { issuer, profile } = config;
  const http = issuer.startsWith('http:') ? '; plain http, because the issuer is loopback' : '';
  return [
    '',
    `  Gatehouse is ready on ${issuer} (profile ${profile.name}${http})`,
    '',
    ...(demo ? invitation(issuer, demo) : bare(config)),
    '',
  ].join('\n');
}

function invitation(issuer: string, demo: DemoSecrets): string[] {
  const as = (client: string) => `curl -s -u ${client}:${demo.clients[client]?.client_secret}`;
  const token = `${as('photos-batch')} -d grant_type=client_credentials ${issuer}/token`;
  const carryOver = `sed 's/.*"access_token":"\\([^"]*\\)".*/token=\\1/'`;
  const batch = demo.clients['photos-batch'] && demo.clients['photos-api'];
  const story = demo.clients['photos-web'];
  const fapi = demo.clients['photos-fapi'];
  return [
    '  Sign in as alice / wonderland or bob / builder:',
    `    ${issuer}/account`,
    // Unless their owner has deleted them since.
    ...(batch === undefined
      ? []
      : [
          '  A token for a backend:',
          `    ${token}`,
          '  What such a token is worth, asked by the API it is for:',
          `    ${token} | ${carryOver} | ${as('photos-api')} -d @- ${issuer}/token_info`,
        ]),
    ...(story === undefined ? [] : ['  The whole story in a browser (in another terminal):', '    npm run demo']),
    ...(fapi === undefined
      ? []
      : ['  A client without any shared secret, photos-fapi (in another terminal):', '    npm run demo:fapi']),
  ];
}

function bare({ demoData }: Config): string[] {
  return [
    demoData
      ? '  This database has users of its own, so there is no demo data.'
      : '  No demo data: it is made only where the server listens on loopback, or with GATEHOUSE_DEMO_DATA=on.',
    '  Begin with: npx gatehouse users create --help, npx gatehouse clients create --help',
  ];
}

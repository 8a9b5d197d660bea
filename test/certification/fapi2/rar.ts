/**
 * What the variant `authorization_request_type=rar` of the FAPI 2.0 plans adds: requests carry the `authorization_details` of
 * the suite's configuration beside the scope, and every token response must carry what was granted (RFC 9396 §7). The modules
 * are those of the other variants; fapi-flow.ts sends the details and checks the responses.
 */
import { expect } from 'vitest';
import { DETAILS } from '../../support/fapi-api.ts';
import { getCode, getTokens, push, redeem, use, visit } from '../../support/fapi-flow.ts';
import { expectRefusal, send } from '../../support/fapi-requests.ts';
import type { Run } from './plan.ts';

const [DETAIL] = DETAILS;

export function rarModules({ module }: Run): void {
  module('happy-flow: the details are announced, shown in words, and reach the API', async (op) => {
    expect(op.metadata.authorization_details_types_supported).toEqual(DETAILS.map(({ type }) => type));
    const { accessToken, refreshToken } = await getTokens(op);
    expect(JSON.parse((await use(op, op.api.url, accessToken)).text)).toMatchObject({ authorization_details: DETAILS });
    const details = [{ ...DETAIL, actions: ['look'] }];
    const fields = { grant_type: 'refresh_token', refresh_token: refreshToken };
    const less = await send(op, 'token_endpoint', { ...fields, authorization_details: JSON.stringify(details) });
    expect(less.json.authorization_details).toEqual(details);
    const seen = await use(op, op.api.url, String(less.json.access_token));
    expect(JSON.parse(seen.text)).toMatchObject({ authorization_details: details });
    // Consent to details is asked for each time, so the page is there to be looked at.
    const browser = op.browser();
    await visit(op, (await push(op)).uri, { browser });
    const asked = { client_id: op.client.id, request_uri: (await push(op)).uri };
    const page = await browser.visit(`${op.metadata.authorization_endpoint}?${new URLSearchParams(asked)}`);
    expect(page.body.replaceAll(/<[^>]*>/g, '')).toContain('Use “The red one”');
  });

  module('happy-flow: details that are wrong, or more than was granted, are refused', async (op) => {
    for (const detail of [
      { ...DETAIL, type: 'unknown' },
      { ...DETAIL, extra: true },
      { ...DETAIL, actions: ['sell'] },
      { type: 'thing_access' },
    ]) {
      const { answer } = await push(op, { parameters: { authorization_details: [detail] } });
      expectRefusal(answer, 'invalid_authorization_details');
    }
    const more = JSON.stringify([{ ...DETAIL, actions: ['look', 'turn', 'break'] }]);
    const asked = await getCode(op);
    const answer = await redeem(op, asked, { fields: { authorization_details: more } });
    expectRefusal(answer, 'invalid_authorization_details');
  });
}

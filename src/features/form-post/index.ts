/** `response_mode=form_post`: OAuth 2.0 Form Post Response Mode §2. The response stays out of URLs, logs and histories. */
import type { Feature } from '../../protocol/feature.ts';
import { FORM_POST_SCRIPT } from '../../protocol/page.ts';
import { formTarget } from '../../protocol/redirect-uri.ts';

export function formPost(): Feature {
  return {
    name: 'form-post',
    responseModes: [
      {
        name: 'form_post',
        send: async (address, parameters) => ({
          kind: 'page',
          formTarget: formTarget(address),
          page: {
            view: 'form-post',
            action: address.redirectUri,
            host: new URL(address.redirectUri).host,
            fields: Object.entries(parameters).map(([name, value]) => ({ name, value })),
            script: FORM_POST_SCRIPT,
          },
        }),
      },
    ],
  };
}

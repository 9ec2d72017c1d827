import time

from odoo import http
from odoo.addons.mail.tools import discuss
from odoo.http import request

from .message import MAX_BYTES, Refused, read_message


class SfuGatewayRescue(http.Controller):
    @http.route(
        "/sfu_gateway/rescue", type="http", auth="none", methods=["POST"], csrf=False, save_session=False
    )
    def rescue(self):
        """Move the calls of the signed message in the body; see docs/rescue.md of the SFU gateway."""
        try:
            if (request.httprequest.content_length or 0) > MAX_BYTES:
                raise Refused(413, f"the message is longer than {MAX_BYTES} bytes")
            token = request.httprequest.get_data()
            message = read_message(token, discuss.get_sfu_key(request.env), time.time())
        except Refused as refused:
            status, detail = refused.args
            return request.make_json_response({"error": detail}, status=status)
        results = request.env["discuss.channel"].sudo()._sfu_gateway_rescue(message)
        return request.make_json_response({"results": results})

"""The site's own tests, with Django's own client and without the middleware."""

from django.test import Client, SimpleTestCase


class SiteTests(SimpleTestCase):
    def test_sessions(self) -> None:
        self.assertContains(self.client.get("/"), "Visit 1")
        self.assertContains(self.client.get("/"), "Visit 2")

    def test_forms_need_their_token(self) -> None:
        client = Client(enforce_csrf_checks=True)
        assert client.post("/form", {"name": "x"}).status_code == 403
        client.get("/form")
        token = client.cookies["csrftoken"].value
        response = client.post("/form", {"name": "x"}, headers={"X-CSRFToken": token})
        self.assertContains(response, "Hello x")

    def test_error_page(self) -> None:
        self.assertContains(self.client.get("/nowhere"), "Error 404", status_code=404)

    def test_stream(self) -> None:
        response = self.client.get("/stream")
        assert len(b"".join(response.streaming_content).splitlines()) == 1000

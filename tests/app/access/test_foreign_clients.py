"""Clients of other protocols, with keys that do and do not suffice."""

import httpx2
import openai
import pytest
import tritonclient.http as triton
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

from tests.app.access.conftest import bearer, make_key
from tests.gendistil.conftest import keyed_url

__all__ = ["keyed_url"]


def ai(client: TestClient, key: str) -> openai.OpenAI:
    assert isinstance(client, httpx2.Client)
    return openai.OpenAI(base_url="http://testserver/v1", api_key=key, http_client=client, max_retries=0)


def test_openais_client_raises_what_its_docs_say(lite: TestClient) -> None:
    with pytest.raises(openai.AuthenticationError, match="not known") as unknown:
        ai(lite, "sk-anything").models.list()
    assert unknown.value.code == "unauthenticated"
    with pytest.raises(openai.PermissionDeniedError, match="lacks the scope `read`"):
        ai(lite, make_key("predict")).models.list()
    assert "fast" in [model.id for model in ai(lite, make_key("read")).models.list()]
    with pytest.raises(openai.NotFoundError):
        ai(lite, make_key("predict")).chat.completions.create(model="none", messages=[{"role": "user", "content": "a"}])


def test_tritons_client_sends_its_key_as_a_header(keyed_url: str) -> None:
    with triton.InferenceServerClient(keyed_url.removeprefix("http://")) as client:
        assert client.is_server_live()
        with pytest.raises(InferenceServerException, match="needs an API key"):
            client.get_model_metadata("none")
        with pytest.raises(InferenceServerException, match="lacks the scope `predict`"):
            client.get_model_metadata("none", headers=bearer(make_key("read")))
        with pytest.raises(InferenceServerException, match="no student"):
            client.get_model_metadata("none", headers=bearer(make_key("predict")))

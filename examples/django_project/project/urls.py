from django.urls import path

from . import views

urlpatterns = [
    path("", views.home),
    path("stream", views.stream),
    path("form", views.form),
    path("upload", views.upload),
    path("broken", views.broken),
    path("swml", views.swml),
    path("swaig", views.swaig, name="swaig"),
]
handler404 = "project.views.not_found"
